"""Wiring of canary builds: what builds them on each node, when, and the one history behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from exporter.actions.calendar import Calendar
from exporter.actions.canary import run_canary
from exporter.actions.canary_history import AT_START, CanaryHistory
from exporter.actions.canary_plan import Target
from exporter.actions.canary_runner import Around, Build, MultiarchCanary, NodeCanaries, Places
from exporter.actions.multiarch import run_multiarch
from exporter.canaries import CanaryKey, CanaryRecord, CanaryTrigger, MultiarchRecord
from exporter.collectors import disk
from exporter.collectors.supervisor import Supervisor
from exporter.dockercli import DockerCli
from exporter.errors import StorageError
from exporter.exposition.canaries import REMEMBERED, CanaryMetrics, place
from exporter.model import MultiarchSettings
from exporter.snapshots import Snapshots
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

_REFRESH = 15.0
_READ_TIMEOUT = 10.0

# Stopping waits so long for what canaries leave behind to be removed from the nodes. Docker and
# systemd wait longer than that.
_GRACE = 7.0


@dataclass(slots=True)
class Canaries:
    """Everything that builds canaries, and what the rest may ask of it."""

    _store: CanaryStore
    _history: CanaryHistory
    _names: frozenset[str]
    """Of the nodes in the configuration."""
    _nodes: list[NodeCanaries]
    _multiarch: MultiarchCanary | None
    _calendar: Calendar
    _now: Callable[[], float]

    @property
    def latest(self) -> Mapping[CanaryKey, CanaryRecord]:
        """The latest build of each platform on each builder. Skipped ones are none.

        Those on nodes that left the configuration are in the history only.
        """
        known = self._history.latest
        return {key: record for key, record in known.items() if key[0] in self._names}

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[CanaryRecord]:
        """Return the last builds, newest first. May raise StorageError."""
        return await _in_time(self._store.recent(limit, node, before))

    async def recent_multiarch(
        self, limit: int, before: float | None = None
    ) -> list[MultiarchRecord]:
        """Return the last builds over the whole farm, newest first. May raise StorageError."""
        return await _in_time(self._store.recent_multiarch(limit, before))

    async def run(self, stop: asyncio.Event) -> None:
        """Build canaries until ``stop`` is set; those that are being built are given up then."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._refresh(), name="canary/history")]
            tasks += [group.create_task(n.run(), name=f"canary/{n.node}") for n in self._nodes]
            if self._multiarch is not None:
                tasks.append(group.create_task(self._multiarch.run(), name="canary/multiarch"))
            self._calendar.start()
            try:
                await stop.wait()
            finally:
                await self._calendar.stop()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_GRACE)
            for task in tasks:
                task.cancel()
        await self._history.write()

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH)
            try:
                await self._history.refresh(self._now())
            except Exception:  # as of a row that a newer replica wrote; building goes on
                log.exception("the canary history can't be refreshed")


async def open_canaries(
    database: Database,
    supervisors: Sequence[Supervisor],
    snapshots: Snapshots,
    fetch: Callable[[str], Awaitable[str]],
    max_parallel: int,
    multiarch: MultiarchSettings | None,
    metrics: CanaryMetrics,
    now: Callable[[], float],
    *,
    pruning: Callable[[str], bool] = lambda _: False,
    build: Build = run_canary,
) -> Canaries:
    """Learn what was built before, and make ready what the configuration wants built.

    ``pruning`` tells whether a prune runs on a node.

    :raises StorageError: when the history can't be read.
    """
    store = CanaryStore(database)
    history = CanaryHistory(store, metrics.ended, metrics.multiarch.ended)
    await history.load(now())
    for record in await _in_time(store.lately(REMEMBERED + 1, now() - AT_START)):
        metrics.known(record)
    places = Places(max_parallel)
    calendar = Calendar()
    last_runs = await _in_time(store.last_runs())
    nodes = []
    for watched in supervisors:
        spec = watched.client.spec
        if spec.canary is None:
            continue
        around = Around(
            build=build,
            look_at_disk=partial(disk.read, watched.client, fetch),
            places=places,
            record=history.note,
            now=now,
            pruning=partial(pruning, spec.name),
            planned=partial(_planned, metrics, spec.name),
        )
        snapshot = partial(snapshots.get, spec.name)
        node = NodeCanaries(watched.client, spec.canary, snapshot, around)
        nodes.append(node)
        calendar.add(spec.name, spec.canary, node.due, last=last_runs.get(spec.name), now=now())
    whole = None
    if multiarch is not None:
        whole = MultiarchCanary(partial(_multiarch, multiarch, now), places, history.note_multiarch)
        metrics.multiarch.planned(multiarch.builder)
        for before in await _in_time(store.recent_multiarch(1)):
            if before.builder == multiarch.builder:
                metrics.multiarch.known(before)
        runs = await _in_time(store.last_multiarch_runs())
        last = runs.get(multiarch.builder)
        calendar.add("all nodes together", multiarch, whole.due, last=last, now=now())
    names = frozenset(watched.client.spec.name for watched in supervisors)
    return Canaries(store, history, names, nodes, whole, calendar, now)


async def _multiarch(settings: MultiarchSettings, now: Callable[[], float]) -> MultiarchRecord:
    return await run_multiarch(
        settings, trigger=CanaryTrigger.SCHEDULE, now=now, docker=DockerCli()
    )


def _planned(metrics: CanaryMetrics, node: str, targets: frozenset[Target]) -> None:
    metrics.planned(node, {place(target.key, target.emulated) for target in targets})


async def _in_time(reading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(_READ_TIMEOUT):
            return await reading
    except TimeoutError as error:
        raise StorageError("no answer in time") from error
