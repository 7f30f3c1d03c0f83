"""What is asked of a history: the same of prunes and of canary builds."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from exporter.web.problem import problem, unknown_parameters

_MOST = 1000
_USUAL = 100


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """How many records, of which node, begun before when (seconds since the epoch)."""

    limit: int
    node: str | None
    before: float | None


def history_query(request: web.Request) -> HistoryQuery | web.Response:
    """Read ``?node=NAME``, ``?limit=N`` (at most 1000), ``?before=SECONDS``; or complain."""
    query = request.query
    if complaint := unknown_parameters(request, {"node", "limit", "before"}):
        return complaint
    limit = _whole(query.get("limit", str(_USUAL)))
    if limit is None or not 1 <= limit <= _MOST:
        return problem(400, f"limit must be a whole number from 1 to {_MOST}")
    before = _seconds(query["before"]) if "before" in query else None
    if "before" in query and before is None:
        return problem(400, "before must be seconds since the epoch")
    return HistoryQuery(limit, query.get("node"), before)


def _whole(text: str) -> int | None:
    # Python refuses to read thousands of digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None
