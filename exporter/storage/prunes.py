"""The history of prunes, as rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from exporter.prunes import LEASE, Measure, Outcome, PruneRecord, Trigger
from exporter.storage.database import Database, locked
from exporter.storage.tables import prunes

INTERRUPTED_NOTE = "the exporter was stopped or killed before it heard of the end"


class PruneStore:
    """Reads and writes prunes.

    Every method may raise :class:`~exporter.errors.StorageError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        dialect = database.engine.dialect.name
        self._insert = postgresql.insert if dialect == "postgresql" else sqlite.insert

    async def save(self, record: PruneRecord) -> None:
        """Write a prune as it is now. Writing it again is safe, in any order of tries."""
        row = _row(record)
        runs = record.outcome is Outcome.RUNNING
        statement: Any = self._insert(prunes).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=[prunes.c.id],
            set_={name: value for name, value in row.items() if name != "id"},
            # A late try does not bring back to life what has ended.
            where=prunes.c.outcome == Outcome.RUNNING if runs else None,
        )
        await self._write(statement)

    async def claim(self, record: PruneRecord, newer_than: float) -> bool:
        """Write a prune that starts, unless one of its builder runs or began after ``newer_than``.

        So two daemons, or a daemon and a prune by hand, never prune one builder at once. What
        seems to have begun in the future was written under a wrong clock.
        """
        now = record.started_at
        others = select(prunes.c.id).where(
            prunes.c.node == record.node,
            prunes.c.builder == record.builder,
            (prunes.c.started_at > newer_than) & (prunes.c.started_at <= now + LEASE)
            | (prunes.c.outcome == Outcome.RUNNING)
            & prunes.c.seen_at.between(now - LEASE, now + LEASE),
        )
        row = _row(record)
        values = select(*(literal(value, prunes.c[name].type) for name, value in row.items()))
        statement = (
            insert(prunes)
            .from_select(list(row), values.where(~others.exists()))
            .returning(prunes.c.id)
        )
        async with self._database.transaction() as connection:
            await locked(connection)
            # Not rowcount: psycopg knows none of an INSERT from a SELECT.
            return (await connection.execute(statement)).first() is not None

    async def interrupt(self, unseen_since: float) -> None:
        """Close the prunes that nobody runs any more: last seen before ``unseen_since``."""
        await self._write(
            update(prunes)
            .where(prunes.c.outcome == Outcome.RUNNING, prunes.c.seen_at < unseen_since)
            .values(
                outcome=Outcome.INTERRUPTED, finished_at=prunes.c.seen_at, note=INTERRUPTED_NOTE
            )
        )

    async def latest(self, until: float | None = None) -> list[PruneRecord]:
        """Return the latest prune of each builder; of those that began ``until`` then."""
        begun = select(
            prunes.c.node, prunes.c.builder, func.max(prunes.c.started_at).label("started_at")
        )
        if until is not None:
            begun = begun.where(prunes.c.started_at <= until)
        newest = begun.group_by(prunes.c.node, prunes.c.builder).subquery()
        return await self._read(
            select(prunes).join(
                newest,
                and_(
                    prunes.c.node == newest.c.node,
                    prunes.c.builder == newest.c.builder,
                    prunes.c.started_at == newest.c.started_at,
                ),
            )
        )

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[PruneRecord]:
        """Return the last ``limit`` prunes, newest first; of one node, begun before a time."""
        query = select(prunes).order_by(prunes.c.started_at.desc(), prunes.c.id).limit(limit)
        if node is not None:
            query = query.where(prunes.c.node == node)
        if before is not None:
            query = query.where(prunes.c.started_at < before)
        return await self._read(query)

    async def _write(self, statement: Any) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(statement)

    async def _read(self, query: Any) -> list[PruneRecord]:
        async with self._database.transaction() as connection:
            return [_record(row) for row in await connection.execute(query)]


def _row(record: PruneRecord) -> dict[str, Any]:
    row = asdict(record)
    for when in ("before", "after"):
        row |= {f"{name}_{when}": value for name, value in row.pop(when).items()}
    return row


def _record(row: Row[Any]) -> PruneRecord:
    values = dict(row._mapping)
    for when in ("before", "after"):
        names = ("cache", "available", "inodes_free")
        values[when] = Measure(**{name: values.pop(f"{name}_{when}") for name in names})
    values["trigger"] = Trigger(values["trigger"])
    values["outcome"] = Outcome(values["outcome"])
    return PruneRecord(**values)
