"""Which builds were counted, and what they add up to, as rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from exporter.builds import Build, BuildCounts
from exporter.prunes import BuilderKey
from exporter.storage.database import Database
from exporter.storage.tables import build_counts, builds_counted


class BuildStore:
    """Reads and writes what is counted of the builds of each builder.

    Every method may raise :class:`~exporter.errors.StorageError`. Writing again is safe, and so
    are several daemons that count the same builds: each is added once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect.name
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    async def load(self) -> dict[BuilderKey, tuple[BuildCounts, set[str]]]:
        """Return the totals of each builder, and the references that are not to be counted."""
        same = (builds_counted.c.node == build_counts.c.node) & (
            builds_counted.c.builder == build_counts.c.builder
        )
        # One statement: another daemon may be writing.
        query = select(build_counts, builds_counted.c.ref).outerjoin(builds_counted, same)
        found: dict[BuilderKey, tuple[BuildCounts, set[str]]] = {}
        async with self._database.transaction() as connection:
            for row in (await connection.execute(query)).mappings():
                key = row["node"], row["builder"]
                if key not in found:
                    found[key] = _counts(row), set()
                if row["ref"] is not None:
                    found[key][1].add(row["ref"])
        return found

    async def add(
        self,
        key: BuilderKey,
        builds: Collection[Build],
        uncounted: Collection[str],
        forget: Collection[str],
    ) -> None:
        """Make a builder known, and add builds to its totals that are not in them yet.

        ``uncounted``: references of builds that are never to be counted. ``forget``: those of
        builds that nobody will tell of again.
        """
        by_ref = {build.ref: build for build in builds}
        names = dict(zip(("node", "builder"), key, strict=True))
        refs = [{**names, "ref": ref} for ref in (*by_ref, *uncounted)]
        here = _of(build_counts, key)
        async with self._database.transaction() as connection:
            # A write first: it keeps other writers out of SQLite, and the lock out of PostgreSQL.
            await connection.execute(
                self._insert(build_counts).on_conflict_do_nothing(), names | _row(BuildCounts())
            )
            locked = await connection.execute(select(build_counts).where(here).with_for_update())
            before = _counts(locked.mappings().one())
            if refs:
                statement: Any = self._insert(builds_counted).on_conflict_do_nothing()
                inserted = await connection.execute(statement.returning(builds_counted.c.ref), refs)
                added = [by_ref[ref] for ref in inserted.scalars() if ref in by_ref]
                after = reduce(BuildCounts.plus, added, before)
                await connection.execute(update(build_counts).where(here).values(_row(after)))
            if forget:
                gone = builds_counted.c.ref == bindparam("gone")
                await connection.execute(
                    delete(builds_counted).where(_of(builds_counted, key), gone),
                    [{"gone": ref} for ref in forget],
                )

    async def remove(self, key: BuilderKey) -> None:
        """Forget a builder."""
        async with self._database.transaction() as connection:
            for table in (build_counts, builds_counted):
                await connection.execute(delete(table).where(_of(table, key)))


def _of(table: Table, key: BuilderKey) -> ColumnElement[bool]:
    node, builder = key
    return (table.c.node == node) & (table.c.builder == builder)


def _row(counts: BuildCounts) -> dict[str, Any]:
    return asdict(counts) | {"buckets": list(counts.buckets)}


def _counts(row: Any) -> BuildCounts:
    values = {name: row[name] for name in ("total", "failed", "steps", "cached", "duration_sum")}
    return BuildCounts(**values, buckets=tuple(row["buckets"]))
