"""Wiring of what is done to nodes: pruners and removers, and the one history behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from exporter.actions.history import History
from exporter.actions.orphans import OrphanRemover
from exporter.actions.policy import native_platforms
from exporter.actions.pruner import Farm, NodePruner
from exporter.collectors import disk
from exporter.collectors.supervisor import Supervisor
from exporter.errors import StorageError
from exporter.exposition.prunes import PruneMetrics
from exporter.prunes import BuilderKey, Decision, PruneRecord
from exporter.snapshots import Snapshots
from exporter.storage.database import Database
from exporter.storage.orphans import OrphanStore
from exporter.storage.prunes import PruneStore

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_REFRESH = 15.0
_READ_TIMEOUT = 10.0

# Stopping waits so long for a prune to end by itself. Docker and systemd wait longer than that.
_GRACE = 7.0


@dataclass(slots=True)
class Decisions:
    """What is decided on each builder now, passed on to the metrics."""

    metrics: PruneMetrics
    now: dict[BuilderKey, Decision] = field(default_factory=dict)

    def decided(self, decision: Decision) -> None:
        """Take the decision on a builder that holds from now on."""
        self.now[decision.key] = decision
        self.metrics.decided(decision)

    def deferred(self, decision: Decision) -> None:
        """Pass on that a due prune starts to wait for builds."""
        self.metrics.deferred(decision)

    def forgotten(self, key: BuilderKey) -> None:
        """Let go of a builder that is not there, or not selected, any more."""
        self.now.pop(key, None)
        self.metrics.forgotten(key)


@dataclass(slots=True)
class Pruning:
    """Everything that prunes, and what the rest may ask of it."""

    _store: PruneStore
    _decisions: Decisions
    _history: History
    _pruners: list[NodePruner]
    _removers: list[OrphanRemover]
    _now: Callable[[], float]

    @property
    def decisions(self) -> Collection[Decision]:
        """What is decided on each builder now."""
        return self._decisions.now.values()

    def runs_on(self, node: str) -> bool:
        """Whether a prune runs on a node, as far as is known; one by hand counts too."""
        now = self._now()
        return any(r.node == node and r.runs(now) for r in self._history.latest.values())

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[PruneRecord]:
        """Return the last prunes, newest first. May raise StorageError."""
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                return await self._store.recent(limit, node, before)
        except TimeoutError as error:
            raise StorageError("no answer in time") from error

    async def run(self, stop: asyncio.Event) -> None:
        """Prune until ``stop`` is set, and a little longer where a prune is about to end."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._refresh(), name="prune/history")]
            tasks += [group.create_task(r.run(), name=f"orphans/{r.node}") for r in self._removers]
            pruners = {group.create_task(p.run(), name=f"prune/{p.node}"): p for p in self._pruners}
            await stop.wait()
            for task in (*tasks, *(task for task, pruner in pruners.items() if not pruner.busy)):
                task.cancel()
            busy = [task for task, pruner in pruners.items() if pruner.busy]
            if busy:
                log.info("waiting for prunes to end", number=len(busy), at_most_seconds=_GRACE)
                await asyncio.wait(busy, timeout=_GRACE)
                for task in busy:
                    task.cancel()

    async def _refresh(self) -> None:
        while True:
            await self._history.refresh(self._now())
            await asyncio.sleep(_REFRESH)


async def open_pruning(
    database: Database,
    supervisors: Sequence[Supervisor],
    snapshots: Snapshots,
    fetch: Callable[[str], Awaitable[str]],
    max_parallel_per_platform: int,
    metrics: PruneMetrics,
    now: Callable[[], float],
    stop: asyncio.Event,
) -> Pruning:
    """Learn what was done before, and make ready what the configuration wants done.

    :raises StorageError: when the history can't be read.
    """
    store = PruneStore(database)
    history = History(store, metrics.ended)
    await history.load()
    pruned = {s.client.spec.name for s in supervisors if s.client.spec.prune is not None}
    for record in history.latest.values():
        # Of other nodes nobody would hear that a builder is gone.
        if record.node in pruned:
            metrics.known(record)
    decisions = Decisions(metrics)
    farm = Farm(
        platforms=lambda: {s.node.name: native_platforms(s) for s in snapshots.all()},
        max_parallel_per_platform=max_parallel_per_platform,
    )
    pruners = [
        NodePruner(
            client=watched.client,
            settings=watched.client.spec.prune,
            snapshot=partial(snapshots.get, watched.client.spec.name),
            look_at_disk=partial(disk.read, watched.client, fetch),
            look_again=watched.look_again,
            history=history,
            farm=farm,
            now=now,
            listener=decisions,
            stop=stop,
        )
        for watched in supervisors
        if watched.client.spec.prune is not None
    ]
    removers = [
        OrphanRemover(
            client=watched.client,
            remove_after=watched.client.spec.orphans_remove_after,
            snapshot=partial(snapshots.get, watched.client.spec.name),
            store=OrphanStore(database),
            now=now,
            on_removed=metrics.orphan_removed,
        )
        for watched in supervisors
        if watched.client.spec.orphans_remove_after is not None
    ]
    return Pruning(store, decisions, history, pruners, removers, now)
