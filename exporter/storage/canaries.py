"""Canary builds, as rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Table, and_, func, insert, select

from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
    Step,
    StepTime,
)
from exporter.storage.database import Database
from exporter.storage.tables import canaries, multiarch_canaries

_KEY = ("node", "builder", "platform")


class CanaryStore:
    """Reads and writes canary builds, each once, when it has ended.

    Every method may raise :class:`~exporter.errors.StorageError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, record: CanaryRecord) -> None:
        """Write a build, or why there was none."""
        steps = {step: _step_row(time) for step, time in record.steps.items()}
        await self._write(canaries, _columns(canaries, record, steps=steps))

    async def save_multiarch(self, record: MultiarchRecord) -> None:
        """Write a build over the whole farm."""
        row = _columns(
            multiarch_canaries,
            record,
            first=_run_row(record.first),
            second=_run_row(record.second),
            pushed=list(record.pushed),
        )
        await self._write(multiarch_canaries, row)

    async def latest(self, since: float = 0.0) -> list[CanaryRecord]:
        """Return the latest build of each platform on each builder, if it began ``since`` then.

        What was skipped says nothing of a builder, and is left out.
        """
        told = (canaries.c.outcome != CanaryOutcome.SKIPPED) & (canaries.c.started_at >= since)
        key = [canaries.c[name] for name in _KEY]
        newest = (
            select(*key, func.max(canaries.c.started_at).label("started_at"))
            .where(told)
            .group_by(*key)
            .subquery()
        )
        same = [canaries.c[name] == newest.c[name] for name in (*_KEY, "started_at")]
        return await self._read(select(canaries).join(newest, and_(*same)).where(told))

    async def lately(self, number: int, since: float = 0.0) -> list[CanaryRecord]:
        """Return the last so many builds of each platform on each builder, oldest first.

        What began before ``since`` and what was skipped is left out.
        """
        told = (canaries.c.outcome != CanaryOutcome.SKIPPED) & (canaries.c.started_at >= since)
        key = [canaries.c[name] for name in _KEY]
        place = func.row_number().over(partition_by=key, order_by=canaries.c.started_at.desc())
        ranked = select(canaries.c.id, place.label("place")).where(told).subquery()
        query = select(canaries).join(ranked, canaries.c.id == ranked.c.id)
        query = query.where(ranked.c.place <= number).order_by(canaries.c.started_at)
        return await self._read(query)

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[CanaryRecord]:
        """Return the last ``limit`` builds, newest first; of one node, begun before a time."""
        query = select(canaries).order_by(canaries.c.started_at.desc(), canaries.c.id).limit(limit)
        if node is not None:
            query = query.where(canaries.c.node == node)
        if before is not None:
            query = query.where(canaries.c.started_at < before)
        return await self._read(query)

    async def recent_multiarch(
        self, limit: int, before: float | None = None
    ) -> list[MultiarchRecord]:
        """Return the last ``limit`` builds over the whole farm, newest first."""
        table = multiarch_canaries
        query = select(table).order_by(table.c.started_at.desc(), table.c.id).limit(limit)
        if before is not None:
            query = query.where(table.c.started_at < before)
        async with self._database.transaction() as connection:
            return [_multiarch(row) for row in await connection.execute(query)]

    async def last_runs(self) -> dict[str, float]:
        """Say when the last scheduled build of each node began, skipped or not."""
        return await self._last_runs(canaries, "node")

    async def last_multiarch_runs(self) -> dict[str, float]:
        """Say when the last scheduled build by each buildx builder began."""
        return await self._last_runs(multiarch_canaries, "builder")

    async def _last_runs(self, table: Table, name: str) -> dict[str, float]:
        query = (
            select(table.c[name], func.max(table.c.started_at))
            .where(table.c.trigger == CanaryTrigger.SCHEDULE)
            .group_by(table.c[name])
        )
        async with self._database.transaction() as connection:
            return {row[0]: float(row[1]) for row in await connection.execute(query)}

    async def _write(self, table: Table, row: dict[str, Any]) -> None:
        """Write a row; one that is there already was written by a try that seemed to fail."""
        there = select(table.c.id).where(table.c.id == row["id"])
        async with self._database.transaction() as connection:
            if (await connection.execute(there)).first() is None:
                await connection.execute(insert(table).values(row))

    async def _read(self, query: Any) -> list[CanaryRecord]:
        async with self._database.transaction() as connection:
            return [_record(row) for row in await connection.execute(query)]


def _columns(table: Table, record: Any, **changed: Any) -> dict[str, Any]:
    return {column.name: getattr(record, column.name) for column in table.columns} | changed


def _step_row(time: StepTime) -> dict[str, Any]:
    return {"seconds": time.seconds, "bytes": time.bytes, "cached": time.cached}


def _run_row(run: MultiarchRun | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "seconds": run.seconds,
        "nodes": dict(run.nodes),
        "steps": run.steps,
        "cached": run.cached,
    }


def _record(row: Row[Any]) -> CanaryRecord:
    values = dict(row._mapping)
    values["trigger"] = CanaryTrigger(values["trigger"])
    values["outcome"] = CanaryOutcome(values["outcome"])
    values["steps"] = {Step(name): StepTime(**time) for name, time in values["steps"].items()}
    return CanaryRecord(**values)


def _multiarch(row: Row[Any]) -> MultiarchRecord:
    values = dict(row._mapping)
    values["trigger"] = CanaryTrigger(values["trigger"])
    values["outcome"] = CanaryOutcome(values["outcome"])
    for name in ("first", "second"):
        if values[name] is not None:
            values[name] = MultiarchRun(**values[name])
    values["pushed"] = tuple(values["pushed"])
    return MultiarchRecord(**values)
