"""``/api/v1/route``: the best node for a build now, and why, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import hdrs, web

from exporter.canaries import CanaryKey, CanaryRecord
from exporter.platforms import normalise_platform
from exporter.routing import Handouts, rank
from exporter.snapshots import Snapshots
from exporter.web.problem import problem, unknown_parameters

Canaries = Callable[[], Mapping[CanaryKey, CanaryRecord]]
"""Gives the latest canary build of each builder and platform."""


class RouteApi:
    """Names a node for each build that asks, and remembers which, so that builds spread."""

    def __init__(self, snapshots: Snapshots, canaries: Canaries, now: Callable[[], float]) -> None:
        self._snapshots = snapshots
        self._canaries = canaries
        self._now = now
        self._handouts = Handouts()

    async def route(self, request: web.Request) -> web.Response:
        """``?platform=linux/amd64``. Whoever asks is taken at its word: it builds there next."""
        if complaint := unknown_parameters(request, {"platform"}):
            return complaint
        asked = request.query.getall("platform", [])
        if len(asked) != 1:
            return problem(400, "name one platform, as ?platform=linux/amd64")
        try:
            platform = normalise_platform(asked[0])
        except ValueError as error:
            return problem(400, str(error))
        now = self._now()
        ranking = rank(self._snapshots.all(), platform, now, self._canaries(), self._handouts)
        said = ranking.document()
        if not ranking.candidates:
            return problem(404, ranking.why, left_out=said["left_out"])
        self._handouts.add(self._snapshots.get(ranking.candidates[0].node), now)
        # The next one to ask is to get another answer.
        return web.json_response(said, headers={hdrs.CACHE_CONTROL: "no-store"})
