"""Wiring and lifecycle: what runs, in which order it starts, how it stops."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import structlog

from exporter import __version__
from exporter.buildkit.node import NodeClient
from exporter.collectors import COLLECTORS
from exporter.collectors.runner import Clock, apply, run
from exporter.collectors.supervisor import Supervisor
from exporter.exposition.own import OwnMetrics
from exporter.exposition.page import Page
from exporter.fetch import Fetcher
from exporter.model import NodeSpec, Snapshot
from exporter.snapshots import Snapshots
from exporter.transports import open_transport
from exporter.web.server import Server

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

CLOCK = Clock(now=time.time, monotonic=time.monotonic)


async def serve(
    nodes: Sequence[NodeSpec], host: str | None, port: int, stop: asyncio.Event
) -> None:
    """Watch the nodes and serve what is known of them, until ``stop`` is set.

    :raises OSError: when the address can't be listened on; nothing was started then.
    """
    own = OwnMetrics(__version__)
    own.config_loaded(CLOCK.now())
    snapshots = Snapshots(nodes)
    page = Page(own.registry)
    snapshots.subscribe(page.update)
    server = Server(snapshots, page)
    for url in await server.start(host, port):
        log.info("listening", url=url)
    rng = Random()  # noqa: S311 - spreads load, hides nothing
    try:
        async with Fetcher() as fetcher, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    Supervisor(
                        NodeClient(node, open_transport(node, rng)),
                        COLLECTORS,
                        snapshots,
                        fetcher.text,
                        CLOCK,
                        rng,
                    ).run(),
                    name=f"supervise/{node.name}",
                )
                for node in nodes
            ]
            await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()
    finally:
        await server.stop()


async def look_once(node: NodeSpec) -> Snapshot:
    """Look at everything on a node once, on connections made for it."""
    client = NodeClient(node, open_transport(node, Random(0)))  # noqa: S311 - no secret
    snapshot = Snapshot(node)
    first, *others = [collector for collector in COLLECTORS if collector.applies(node)]
    try:
        async with Fetcher() as fetcher:
            snapshot = apply(snapshot, await run(first, client, snapshot, CLOCK, fetcher.text))
            outcomes = await asyncio.gather(
                *(run(other, client, snapshot, CLOCK, fetcher.text) for other in others)
            )
    finally:
        await client.close()
    for outcome in outcomes:
        snapshot = apply(snapshot, outcome)
    return snapshot


@asynccontextmanager
async def stop_on_signals() -> AsyncIterator[asyncio.Event]:
    """Give an event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def on_signal() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
