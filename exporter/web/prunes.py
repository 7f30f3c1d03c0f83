"""``/api/v1/prunes``: the history of prunes as JSON."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from exporter.errors import StorageError
from exporter.prunes import Decision, PruneRecord

_MOST = 1000
_USUAL = 100


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
        query = request.query
        unknown = set(query) - {"node", "limit", "before"}
        if unknown:
            return _problem(400, f"unknown parameter: {', '.join(sorted(unknown))}")
        limit = _whole(query.get("limit", str(_USUAL)))
        if limit is None or not 1 <= limit <= _MOST:
            return _problem(400, f"limit must be a whole number from 1 to {_MOST}")
        before = _seconds(query["before"]) if "before" in query else None
        if "before" in query and before is None:
            return _problem(400, "before must be seconds since the epoch")
        node = query.get("node")
        records: list[PruneRecord] = []
        if self._pruning is not None:
            try:
                records = await self._pruning.recent(limit, node, before)
            except StorageError as error:
                return _problem(503, f"the history can't be read: {error}")
        return web.json_response(
            {
                "prunes": [{**asdict(record), "duration": record.duration} for record in records],
                "decisions": [asdict(decision) for decision in self.decisions(node)],
            }
        )


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"status": status, "detail": detail}, status=status)


def _whole(text: str) -> int | None:
    # Python refuses to read thousands of digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None
