"""``/api/v1/canaries``: the history of canary builds as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from exporter.canaries import CanaryKey, CanaryRecord, MultiarchRecord
from exporter.errors import StorageError
from exporter.web.problem import problem
from exporter.web.query import history_query


class Canaries(Protocol):
    """What builds canaries, as far as it can be asked. Methods may raise StorageError."""

    @property
    def latest(self) -> Mapping[CanaryKey, CanaryRecord]:
        """The latest build of each platform on each builder. Skipped ones are none."""
        ...

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[CanaryRecord]:
        """Return the last builds, newest first."""
        ...

    async def recent_multiarch(
        self, limit: int, before: float | None = None
    ) -> list[MultiarchRecord]:
        """Return the last builds over the whole farm, newest first."""
        ...


class CanaryApi:
    """Answers with the last canary builds. ``None``: there are none."""

    def __init__(self, canaries: Canaries | None) -> None:
        self._canaries = canaries

    def latest(self) -> list[CanaryRecord]:
        """Return the latest build of each platform on each builder, by name."""
        found = self._canaries.latest.values() if self._canaries is not None else ()
        return sorted(found, key=lambda record: record.key)

    async def canaries(self, request: web.Request) -> web.Response:
        """As of prunes. With ``?node=NAME`` those over the whole farm are left out."""
        query = history_query(request)
        if isinstance(query, web.Response):
            return query
        records: list[CanaryRecord] = []
        multiarch: list[MultiarchRecord] = []
        if self._canaries is not None:
            try:
                records = await self._canaries.recent(query.limit, query.node, query.before)
                if query.node is None:
                    multiarch = await self._canaries.recent_multiarch(query.limit, query.before)
            except StorageError as error:
                return problem(503, f"the history can't be read: {error}")
        return web.json_response(
            {
                "canaries": [_json(record) for record in records],
                "multiarch": [
                    {**asdict(record), "duration": record.duration} for record in multiarch
                ],
            }
        )


def _json(record: CanaryRecord) -> dict[str, object]:
    steps = {
        step: {**asdict(time), "throughput": time.throughput} for step, time in record.steps.items()
    }
    return {**asdict(record), "steps": steps, "duration": record.duration}
