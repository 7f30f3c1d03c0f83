"""A server on loopback over snapshots that the test makes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from exporter.canaries import CanaryKey, CanaryRecord
from exporter.exposition.own import OwnMetrics
from exporter.exposition.page import Page
from exporter.model import NodeSpec, Snapshot
from exporter.snapshots import Snapshots
from exporter.web.alerts import AlertApi, ShownAlert
from exporter.web.canaries import Canaries, CanaryApi
from exporter.web.prunes import PruneApi, Pruning
from exporter.web.route import RouteApi
from exporter.web.server import Server
from tests.exposition.known import NOW

LOOPBACK = "127.0.0.1"


@dataclass
class Answer:
    """A whole answer, as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Site:
    """A running server."""

    server: Server
    snapshots: Snapshots
    url: str
    session: aiohttp.ClientSession

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Make one request; ``accept_encoding`` is the header Accept-Encoding."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            asyncio.timeout(20),
            self.session.request(method, self.url + path, headers=given) as response,
        ):
            return Answer(response.status, response.headers, await response.read())

    def know(self, snapshot: Snapshot) -> None:
        """Replace what is known of a node."""
        self.snapshots.update(snapshot.node.name, lambda _: snapshot)


@asynccontextmanager
async def serving(
    *nodes: NodeSpec,
    pruning: Pruning | None = None,
    canaries: Mapping[CanaryKey, CanaryRecord] | None = None,
    now: Callable[[], float] = lambda: NOW,
    built: Canaries | None = None,
    alerts: Sequence[ShownAlert] = (),
) -> AsyncIterator[Site]:
    """Serve what is known of these nodes; nothing at first. ``canaries``: the latest of each."""
    snapshots = Snapshots(nodes)
    page = Page(OwnMetrics("1.2.3").registry)
    snapshots.subscribe(page.update)
    route = RouteApi(snapshots, lambda: canaries or {}, now)
    server = Server(
        snapshots,
        page.render,
        PruneApi(pruning),
        route,
        CanaryApi(built),
        AlertApi(lambda: alerts),
    )
    (url,) = await server.start(LOOPBACK, 0)
    session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding"])
    try:
        yield Site(server, snapshots, url, session)
    finally:
        await session.close()
        await server.stop()
