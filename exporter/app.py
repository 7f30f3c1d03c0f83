"""Wiring and lifecycle: what runs, in which order it starts, how it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import structlog

from exporter import __version__
from exporter.alerts import AlertingSettings
from exporter.buildkit.node import NodeClient
from exporter.collectors import COLLECTORS
from exporter.collectors.build_ledger import Ledger
from exporter.collectors.builds import LOOK
from exporter.collectors.runner import Clock, apply, run
from exporter.collectors.supervisor import Supervisor
from exporter.errors import Layer, StorageError
from exporter.exposition.canaries import CanaryMetrics
from exporter.exposition.own import OwnMetrics
from exporter.exposition.page import Page
from exporter.exposition.prunes import PruneMetrics
from exporter.fetch import Fetcher
from exporter.model import MultiarchSettings, NodeSpec, Snapshot
from exporter.notifying import open_alerting
from exporter.snapshots import Snapshots
from exporter.transports import open_transport
from exporter.web.alerts import AlertApi
from exporter.web.canaries import CanaryApi
from exporter.web.prunes import PruneApi
from exporter.web.route import RouteApi
from exporter.web.server import Server

if TYPE_CHECKING:
    from exporter.storage.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

CLOCK = Clock(now=time.time, monotonic=time.monotonic)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a daemon is to do."""

    nodes: tuple[NodeSpec, ...]
    storage_url: str = field(repr=False)
    """Where history is kept."""
    prune_max_parallel: int = 1
    """How many nodes of one platform may be pruned at a time."""
    canary_max_parallel: int = 1
    """How many canary builds may run at a time."""
    multiarch: MultiarchSettings | None = None
    """The canary build over the whole farm; ``None``: there is to be none."""
    alerting: AlertingSettings = field(default_factory=AlertingSettings)
    """What is evaluated, and who is told."""
    site: str = ""
    """The address under which people reach this exporter; empty: by this machine's name."""

    @property
    def prunes(self) -> bool:
        """Whether caches are pruned or orphaned volumes removed."""
        return any(node.prune or node.orphans_remove_after is not None for node in self.nodes)

    @property
    def builds_canaries(self) -> bool:
        """Whether there are canary builds."""
        return self.multiarch is not None or any(node.canary for node in self.nodes)

    @property
    def follows_builds(self) -> bool:
        """Whether users' builds are counted."""
        return any(node.collect.builds for node in self.nodes)


async def serve(plan: Plan, host: str | None, port: int, stop: asyncio.Event) -> None:
    """Watch the nodes, do what is to be done, and serve what is known, until ``stop`` is set.

    :raises OSError: when the address can't be listened on; nothing was started then.
    :raises StorageError: when the history can't be opened; nothing was started then.
    """
    own = OwnMetrics(__version__)
    own.config_loaded(CLOCK.now())
    snapshots = Snapshots(plan.nodes)
    page = Page(own.registry)
    snapshots.subscribe(page.update)
    rng = Random()  # noqa: S311 - spreads load, hides nothing
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_storage(plan))
        fetcher = await stack.enter_async_context(Fetcher())
        ledger = await _open_ledger(database)
        supervisors = [
            Supervisor(
                NodeClient(node, open_transport(node, rng)),
                COLLECTORS,
                snapshots,
                fetcher.text,
                CLOCK,
                rng,
                ledger,
            )
            for node in plan.nodes
        ]
        pruning = None
        if plan.prunes and database is not None:
            from exporter.pruning import open_pruning  # noqa: PLC0415 - a slow import

            pruning = await open_pruning(
                database,
                supervisors,
                snapshots,
                fetcher.text,
                plan.prune_max_parallel,
                PruneMetrics(own.registry, {node.name for node in plan.nodes}),
                CLOCK.now,
                stop,
            )
        canaries = None
        if plan.builds_canaries and database is not None:
            from exporter.canarying import open_canaries  # noqa: PLC0415 - a slow import

            canaries = await open_canaries(
                database,
                supervisors,
                snapshots,
                fetcher.text,
                plan.canary_max_parallel,
                plan.multiarch,
                CanaryMetrics(own.registry, {node.name for node in plan.nodes if node.canary}),
                CLOCK.now,
                pruning=pruning.runs_on if pruning is not None else lambda _: False,
            )
        alerting = await open_alerting(
            plan.alerting,
            snapshots,
            own.registry,
            database,
            plan.site or _site(host, port),
            CLOCK.now,
            rng,
        )
        route = RouteApi(
            snapshots, lambda: canaries.latest if canaries is not None else {}, CLOCK.now
        )
        server = Server(
            snapshots,
            page.render,
            PruneApi(pruning),
            route,
            CanaryApi(canaries),
            AlertApi(alerting.shown),
        )
        stack.push_async_callback(server.stop)
        for url in await server.start(host, port):
            log.info("listening", url=url)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(supervisor.run(), name=f"supervise/{supervisor.client.spec.name}")
                for supervisor in supervisors
            ]
            tasks.append(group.create_task(ledger.run(), name="builds/ledger"))
            group.create_task(alerting.run(stop), name="alerting")
            # What acts ends first: it needs the connections that the supervisors own.
            async with asyncio.TaskGroup() as acting:
                for name, part in (("prune", pruning), ("canary", canaries)):
                    if part is not None:
                        acting.create_task(part.run(stop), name=name)
                await stop.wait()
            log.info("stopping")
            for task in tasks:
                task.cancel()
        await ledger.write()


def _site(host: str | None, port: int) -> str:
    """Where people reach what listens there: by this machine's name if on all its addresses."""
    if host in (None, "", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def _storage(plan: Plan) -> AsyncIterator[Database | None]:
    """Open the history. Who only counts builds and tells of alerts does so without it as well.

    :raises StorageError: when it can't be opened, and something is to be done to a node.
    """
    acts = plan.prunes or plan.builds_canaries
    async with AsyncExitStack() as stack:
        database = None
        if acts or plan.follows_builds or plan.alerting.alertmanagers:
            from exporter.storage.database import open_database  # noqa: PLC0415 - a slow import

            try:
                database = await stack.enter_async_context(open_database(plan.storage_url))
            except StorageError as error:
                if acts:
                    raise
                log.warning(
                    "can't open the history; builds and alerts are known from this start on",
                    error=str(error),
                )
        yield database


async def _open_ledger(database: Database | None) -> Ledger:
    """Learn which builds were counted before; where that can't be read, count from now on."""
    if database is None:
        return Ledger()
    from exporter.storage.builds import BuildStore  # noqa: PLC0415 - a slow import

    ledger = Ledger(BuildStore(database))
    try:
        await ledger.load()
    except StorageError as error:
        log.warning(
            "can't read which builds were counted; they are counted from this start on",
            error=str(error),
        )
        return Ledger()
    return ledger


async def look_once(node: NodeSpec) -> Snapshot:
    """Look at everything on a node once, on connections made for it.

    Where not even the daemon answers, nothing else is tried.
    """
    client = NodeClient(node, open_transport(node, Random(0)))  # noqa: S311 - no secret
    snapshot = Snapshot(node)
    first, *others = [collector for collector in (*COLLECTORS, LOOK) if collector.applies(node)]
    try:
        async with Fetcher() as fetcher:
            snapshot = apply(snapshot, await run(first, client, snapshot, CLOCK, fetcher.text))
            reach = snapshot.reachability
            failure = reach.value.failure if reach else None
            if failure is not None and failure.layer is not Layer.BUILDKIT:
                return snapshot
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
