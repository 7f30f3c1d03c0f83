"""``/api/v1/prunes``: the history of prunes as JSON."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from exporter.errors import StorageError
from exporter.prunes import Decision, PruneRecord
from exporter.web.problem import problem
from exporter.web.query import history_query


class Pruning(Protocol):
    """What prunes, as far as it can be asked."""

    @property
    def decisions(self) -> Collection[Decision]:
        """What is decided on each builder now."""
        ...

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[PruneRecord]:
        """Return the last prunes, newest first. May raise StorageError."""
        ...


class PruneApi:
    """Answers with the last prunes, and with what is decided now. ``None``: nothing is pruned."""

    def __init__(self, pruning: Pruning | None) -> None:
        self._pruning = pruning

    def decisions(self, node: str | None = None) -> list[Decision]:
        """Return what is decided on each builder now, of one node or of all, by name."""
        found = self._pruning.decisions if self._pruning is not None else ()
        chosen = [decision for decision in found if node in (None, decision.node)]
        return sorted(chosen, key=lambda decision: decision.key)

    async def prunes(self, request: web.Request) -> web.Response:
        """``?node=NAME``, ``?limit=N`` (at most 1000), ``?before=SECONDS`` to read on."""
        query = history_query(request)
        if isinstance(query, web.Response):
            return query
        records: list[PruneRecord] = []
        if self._pruning is not None:
            try:
                records = await self._pruning.recent(query.limit, query.node, query.before)
            except StorageError as error:
                return problem(503, f"the history can't be read: {error}")
        return web.json_response(
            {
                "prunes": [{**asdict(record), "duration": record.duration} for record in records],
                "decisions": [asdict(decision) for decision in self.decisions(query.node)],
            }
        )
