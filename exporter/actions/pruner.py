"""Prunes one node when the policy wants it: looks, decides, waits its turn, acts, and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from exporter.actions.execute import Target, execute, new_record
from exporter.actions.history import History
from exporter.actions.policy import decide, full_platforms, hold, own, still_due
from exporter.actions.running import running_builds
from exporter.actions.space import whose_space
from exporter.buildkit.node import NodeClient
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Builder, Disk, PruneSettings, Snapshot
from exporter.prunes import (
    BuilderKey,
    Decision,
    Outcome,
    PruneRequest,
    Verdict,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TICK = 5.0
"""Seconds between two looks at what is known."""

_ASK_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Farm:
    """What pruning needs to know of the other nodes."""

    platforms: Callable[[], Mapping[str, Collection[str]]]
    """The native platforms of each node, by its name."""
    max_parallel_per_platform: int


class Listener(Protocol):
    """Hears of what a pruner decides."""

    def decided(self, decision: Decision) -> None:
        """Take the decision on a builder that holds from now on."""
        ...

    def deferred(self, decision: Decision) -> None:
        """Hear that a due prune starts to wait for builds."""
        ...

    def forgotten(self, key: BuilderKey) -> None:
        """Hear that a builder is not there, or not selected, any more."""
        ...


class NodePruner:
    """Watches one node's snapshot and prunes its selected builders, one at a time."""

    def __init__(
        self,
        client: NodeClient,
        settings: PruneSettings,
        snapshot: Callable[[], Snapshot],
        look_at_disk: Callable[[], Awaitable[Disk]],
        look_again: Callable[[], None],
        history: History,
        farm: Farm,
        now: Callable[[], float],
        listener: Listener,
        stop: asyncio.Event,
    ) -> None:
        self._client = client
        self._settings = settings
        self._snapshot = snapshot
        self._look_at_disk = look_at_disk
        self._look_again = look_again
        self._history = history
        self._farm = farm
        self._now = now
        self._listener = listener
        self._stop = stop
        self.busy = False
        """A prune runs. Who stops the pruner then waits a little."""
        self._known = {key for key in history.latest if key[0] == self.node}
        """The builders that are selected; until the node's are known, those of the history."""
        self._decisions: dict[BuilderKey, Decision] = {}
        self._waiting: dict[BuilderKey, float] = {}

    @property
    def node(self) -> str:
        """The name of the node."""
        return self._client.spec.name

    async def run(self) -> None:
        """Prune when it is due, until ``stop`` is set or cancelled in the middle of a prune."""
        with structlog.contextvars.bound_contextvars(node=self.node):
            while not self._stop.is_set():
                try:
                    await self.tick()
                except Exception:  # a bug met on one node must not end the others' pruning
                    log.exception("pruning failed unexpectedly")
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await self._stop.wait()

    async def tick(self) -> None:
        """Decide on every selected builder, and prune the one that needs it most."""
        due = self._due()
        if due:
            await self._history.refresh(self._now())
            due = self._due()
        for builder, decision in due:
            try:
                if await self._prune(builder, decision):
                    return
            except NodeError as error:
                # It is asked again with the next tick; that the node fails is told elsewhere.
                reason = f"{decision.reason}; but the builder can't be asked ({error.detail})"
                self._decide(replace(decision, verdict=Verdict.STALE, reason=reason))

    def _due(self) -> list[tuple[Builder, Decision]]:
        """Decide by what is known; what is to be pruned now, the largest excess first."""
        snapshot = self._snapshot()
        if snapshot.workers is None:
            return []
        due: list[tuple[int, Builder, Decision]] = []
        workers = snapshot.workers.value.workers
        builders = [worker.builder for worker in workers if worker.builder.selected]
        for builder in builders:
            decision = decide(snapshot, builder, self._settings, self._history.latest, self._now())
            if decision.verdict is Verdict.PRUNE:
                caches = snapshot.cache.value if snapshot.cache else ()
                size = next((own(c) for c in caches if c.builder == builder.name), 0)
                due.append((size - decision.keep, builder, decision))
            else:
                self._decide(decision)
        selected = {(self.node, b.name) for b in builders}
        for key in self._known - selected:
            self._decisions.pop(key, None)
            self._waiting.pop(key, None)
            self._listener.forgotten(key)
        self._known = selected
        return [(b, d) for _, b, d in sorted(due, key=lambda row: row[0], reverse=True)]

    def _decide(self, decision: Decision) -> None:
        before = self._decisions.get(decision.key)
        self._decisions[decision.key] = decision
        if decision.verdict is Verdict.WAIT_BUILDS:
            if decision.key not in self._waiting:
                self._waiting[decision.key] = self._now()
                self._listener.deferred(decision)
        elif decision.verdict not in (Verdict.PRUNE, Verdict.WAIT_TURN):
            # Waiting for another prune goes on with waiting for builds: else builds that follow
            # each other could keep a node of a busy platform waiting for ever.
            self._waiting.pop(decision.key, None)
        self._listener.decided(decision)
        if before is None or before.verdict is not decision.verdict:
            level = "info" if decision.trigger else "debug"
            getattr(log, level)(
                "decided", builder=decision.builder, verdict=decision.verdict, why=decision.reason
            )

    async def _prune(self, builder: Builder, due: Decision) -> bool:
        """Prune unless something holds it up. True: it was done, and all is to be seen anew."""
        builds: int | None = 0
        if not self._full_platforms():
            builder = await self._as_it_is(builder)
            builds = await running_builds(self._client, builder)
        # From here to where the prune is noted as running nothing is awaited: no other node's
        # pruner can come in between.
        now = self._now()
        if due.key in self._waiting:
            self._waiting[due.key] = min(self._waiting[due.key], now)  # clocks are put back
        decision = hold(
            due,
            self._settings,
            running_builds=builds,
            waiting_since=self._waiting.get(due.key),
            full_platforms=self._full_platforms(),
            now=now,
        )
        self._decide(decision)
        if decision.verdict is not Verdict.PRUNE or decision.trigger is None:
            return False
        request = PruneRequest(
            trigger=decision.trigger,
            reason=decision.reason,
            keep=decision.keep,
            all=self._settings.all,
            filters=self._settings.filters,
        )
        self.busy = True
        try:
            await self._carry_out(builder, decision, request)
        finally:
            self.busy = False
        self._waiting.pop(due.key, None)
        self._look_again()
        return True

    async def _carry_out(self, builder: Builder, decision: Decision, request: PruneRequest) -> None:
        if self._settings.dry_run:
            now = self._now()
            record = new_record(decision.node, decision.builder, request, now)
            record = replace(record, outcome=Outcome.DRY_RUN, finished_at=now)
            await self._history.save(record)
            log.info("would prune", builder=builder.name, why=request.reason, keep=request.keep)
            return
        await execute(
            Target(self._client, builder, self._look_at_disk),
            request,
            self._history,
            self._now,
            still_due=still_due(decision, self._settings),
            explain=partial(self._explain, builder),
        )

    async def _as_it_is(self, builder: Builder) -> Builder:
        """Find the builder anew: since it was looked at it may have got another container."""
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                there = await self._client.builders(fresh=True)
        except TimeoutError as error:
            said = "the Engine does not list its containers in time"
            raise NodeError(Layer.ENGINE, Reason.TIMEOUT, said) from error
        for found in there:
            if found.name == builder.name and found.selected:
                return found
        raise NodeError(Layer.BUILDKIT, Reason.BUILDKIT, f"builder {builder.name} is gone")

    def _full_platforms(self) -> Collection[str]:
        return full_platforms(
            self.node,
            self._farm.platforms(),
            self._history.latest,
            self._farm.max_parallel_per_platform,
            self._now(),
        )

    async def _explain(self, pruned: Builder) -> str:
        return await whose_space(self._client, self._snapshot(), pruned.name)
