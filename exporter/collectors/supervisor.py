"""Watches one node: each collector in a loop of its own, so that a slow one delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import structlog

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector
from exporter.collectors.build_follower import BuildFollower
from exporter.collectors.build_ledger import Ledger
from exporter.collectors.runner import Clock, Outcome, apply, run
from exporter.model import Failure, Snapshot, Worker
from exporter.snapshots import Snapshots

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# At the start the nodes' first looks are spread over this many seconds.
_SPREAD = 2.0


class Supervisor:
    """Owns a node's connections and the tasks that look at it.

    A collector never overlaps with itself: a look that takes longer than the interval skips the
    ticks it ran over. When a node comes back all its collectors look at once.
    """

    def __init__(
        self,
        client: NodeClient,
        collectors: Sequence[Collector],
        snapshots: Snapshots,
        fetch: Callable[[str], Awaitable[str]],
        clock: Clock,
        rng: Random,
        ledger: Ledger,
    ) -> None:
        self.client = client
        self._collectors = [c for c in collectors if c.applies(client.spec)]
        self._snapshots = snapshots
        self._fetch = fetch
        self._clock = clock
        self._rng = rng
        self._wake = {collector.name: asyncio.Event() for collector in self._collectors}
        self._follower: BuildFollower | None = None
        if client.spec.collect.builds:
            self._follower = BuildFollower(
                client, ledger, clock, rng, self._publish, self._answered
            )

    async def run(self) -> None:
        """Look at the node until cancelled; then end its connections."""
        name = self.client.spec.name
        with structlog.contextvars.bound_contextvars(node=name):
            try:
                async with asyncio.TaskGroup() as group:
                    for collector in self._collectors:
                        group.create_task(
                            self._repeat(collector), name=f"collect/{name}/{collector.name}"
                        )
                    if self._follower is not None:
                        group.create_task(self._follow(self._follower), name=f"follow/{name}")
            finally:
                await self.client.close()

    def look_again(self, *, except_for: str | None = None) -> None:
        """Let the node's collectors look at once, each as soon as its present look is done."""
        for name, wake in self._wake.items():
            if name != except_for:
                wake.set()
        if self._follower is not None:
            self._follower.look_again()

    async def _follow(self, follower: BuildFollower) -> None:
        await asyncio.sleep(self._rng.uniform(0, _SPREAD))
        await follower.run()

    async def _repeat(self, collector: Collector) -> None:
        interval = collector.interval(self.client.spec)
        loop = asyncio.get_running_loop()
        due = loop.time() + self._rng.uniform(0, min(interval, _SPREAD))
        # The first pause is shorter for some: nodes that start together do not stay in step.
        pause = interval * self._rng.uniform(0.5, 1.0)
        wake = self._wake[collector.name]
        while True:
            try:
                async with asyncio.timeout_at(due):
                    await wake.wait()
            except TimeoutError:
                due += pause
                pause = interval
            wake.clear()
            await self._look(collector)
            late = loop.time() - due
            if late > 0:
                due += (late // interval + 1) * interval

    async def _look(self, collector: Collector) -> None:
        before = self._snapshots.get(self.client.spec.name)
        self._publish(await run(collector, self.client, before, self._clock, self._fetch))

    def _publish(self, outcome: Outcome) -> None:
        name = self.client.spec.name
        before = self._snapshots.get(name)
        after = self._snapshots.update(name, lambda snapshot: apply(snapshot, outcome))
        _tell(outcome, before, after)
        if outcome.collector == "reachability" and _came_back(before, after):
            self.look_again(except_for=outcome.collector)

    def _answered(self) -> bool:
        reachability = self._snapshots.get(self.client.spec.name).reachability
        return reachability is not None and reachability.value.up


def _came_back(before: Snapshot, after: Snapshot) -> bool:
    if before.reachability is None or after.reachability is None:
        return False
    return after.reachability.value.up and not before.reachability.value.up


def _tell(outcome: Outcome, before: Snapshot, after: Snapshot) -> None:
    """Log what changed, and nothing that stays as it was."""
    if outcome.collector == "reachability" and after.reachability is not None:
        old = before.reachability.value.failure if before.reachability else None
        new = after.reachability.value.failure
        if new is not None and not _same(new, old):
            log.warning("node is down", layer=new.layer, reason=new.reason, detail=new.detail)
        elif new is None and (old is not None or before.reachability is None):
            log.info("node is up")
        return
    if outcome.collector == "workers":
        _tell_builders(before, after)
    state = before.collectors.get(outcome.collector)
    was = state.error if state else None
    if outcome.error is not None and not _same(outcome.error, was):
        log.warning(
            "collection failed",
            collector=outcome.collector,
            reason=outcome.error.reason,
            detail=outcome.error.detail,
        )
    elif outcome.error is None and was is not None:
        log.info("collection works again", collector=outcome.collector)


def _same(failure: Failure, before: Failure | None) -> bool:
    """Whether it fails as before: the words may differ from look to look."""
    return before is not None and (failure.layer, failure.reason) == (before.layer, before.reason)


def _tell_builders(before: Snapshot, after: Snapshot) -> None:
    old, new = _workers(before), _workers(after)
    for name in sorted(new.keys() - old.keys()):
        found = new[name]
        log.info(
            "builder found",
            builder=name,
            driver=found.builder.driver,
            version=found.version,
            selected=found.builder.selected,
        )
    for name in sorted(old.keys() - new.keys()):
        log.info("builder is gone", builder=name)


def _workers(snapshot: Snapshot) -> dict[str, Worker]:
    known = snapshot.workers.value.workers if snapshot.workers else ()
    return {worker.builder.name: worker for worker in known}
