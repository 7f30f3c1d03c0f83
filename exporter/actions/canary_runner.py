"""Builds the canaries of a node when they are due, one after the other, and tells what came of it.

Over the farm only so many build at a time; the one over all nodes has the farm for itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from exporter.actions.canary import CanaryProgress, CanaryResult
from exporter.actions.canary_plan import (
    Moment,
    Target,
    Verdict,
    down,
    judge,
    nothing_to_build,
    targets,
)
from exporter.actions.running import running_builds
from exporter.buildkit.node import NodeClient
from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
)
from exporter.errors import Layer, NodeError
from exporter.model import Builder, CanarySettings, Disk, Snapshot
from exporter.words import line

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TICK = 5.0
"""Seconds between two looks at what there is to build."""

_ASK_TIMEOUT = 10.0
_FIRST_LOOK = 60

Build = Callable[
    [NodeClient, Builder, str, CanarySettings, Callable[[CanaryProgress], None]],
    Awaitable[CanaryResult],
]
"""Builds one canary: :func:`exporter.actions.canary.run_canary`."""


class Places:
    """How many canaries may build at a time, over the whole farm."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._free = asyncio.Semaphore(number)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Have one place, waiting for it."""
        async with self._free:
            yield

    @asynccontextmanager
    async def all(self) -> AsyncIterator[None]:
        """Have all of them: no other canary builds meanwhile. Not for two at once."""
        taken = 0
        try:
            while taken < self._number:
                await self._free.acquire()
                taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()


@dataclass(frozen=True, slots=True)
class Around:
    """What the canaries of one node need of the world around them."""

    build: Build
    look_at_disk: Callable[[], Awaitable[Disk]]
    places: Places
    record: Callable[[CanaryRecord], Awaitable[None]]
    """Takes what came of each build. Never fails."""
    now: Callable[[], float]
    pruning: Callable[[], bool] = lambda: False
    """Tells whether a prune runs on the node."""
    on_progress: Callable[[Target, CanaryProgress], None] = lambda *_: None
    planned: Callable[[frozenset[Target]], None] = lambda _: None
    """Hears of what there is to build on the node, when that changes."""


class NodeCanaries:
    """Builds one node's canaries."""

    def __init__(
        self,
        client: NodeClient,
        settings: CanarySettings,
        snapshot: Callable[[], Snapshot],
        around: Around,
    ) -> None:
        self._client = client
        self._settings = settings
        self._snapshot = snapshot
        self._around = around
        self._due = asyncio.Event()
        self._planned: frozenset[Target] | None = None

    @property
    def node(self) -> str:
        """The name of the node."""
        return self._client.spec.name

    def due(self) -> None:
        """Have the canaries built soon. While they are being built nothing more is due."""
        self._due.set()

    async def run(self) -> None:
        """Build whenever it is due, until cancelled."""
        with structlog.contextvars.bound_contextvars(node=self.node):
            while True:
                try:
                    self._plan()
                except Exception:  # as below
                    log.exception("what canaries there are to build can't be told")
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK):
                        await self._due.wait()
                if self._due.is_set():
                    try:
                        await self._first_look()
                        await self.build_all(CanaryTrigger.SCHEDULE)
                    except Exception:  # a bug met on one node must not end the others' canaries
                        log.exception("canary builds failed unexpectedly")
                    self._due.clear()

    async def build_all(self, trigger: CanaryTrigger) -> list[CanaryRecord]:
        """Build each platform on each selected builder; what came of it, in that order."""
        found = list(targets(self._snapshot(), await self._builders()))
        if not found:
            log.warning("no canary is built", why=nothing_to_build(self._snapshot()))
        return [await self._build(target, trigger) for target in found]

    def _plan(self) -> None:
        planned = frozenset(targets(self._snapshot()))
        if planned != self._planned and self._snapshot().workers is not None:
            self._around.planned(planned)
            self._planned = planned

    async def _first_look(self) -> None:
        """Wait, at the start, until it is known what there is to build on."""
        for _ in range(_FIRST_LOOK):
            if not _unknown(self._snapshot()):
                return
            await asyncio.sleep(1.0)

    async def _builders(self) -> tuple[Builder, ...] | None:
        """List the builders as they are now; ``None``: they can't be listed."""
        if down(self._snapshot()) is None:
            with suppress(NodeError, TimeoutError):
                async with asyncio.timeout(_ASK_TIMEOUT):
                    return await self._client.builders(fresh=True)
        return None

    async def _build(self, target: Target, trigger: CanaryTrigger) -> CanaryRecord:
        async with self._around.places.one():
            started = self._around.now()
            record = CanaryRecord(
                id=uuid.uuid4().hex,
                node=self.node,
                builder=target.builder,
                platform=target.platform,
                emulated=target.emulated,
                trigger=trigger,
                outcome=CanaryOutcome.SKIPPED,
                started_at=started,
                finished_at=started,
            )
            self._around.on_progress(target, CanaryProgress(None, {}))
            record = replace(record, **await self._outcome(target))
            record = replace(record, finished_at=self._around.now())
        tell(record)
        await self._around.record(record)
        return record

    async def _outcome(self, target: Target) -> dict[str, Any]:
        """Build, if it can be now; what to put into the record."""
        builder, verdict = await self._judge(target)
        if builder is None or verdict.outcome is not None:
            return {"outcome": verdict.outcome, "detail": verdict.detail}
        result = await self._around.build(
            self._client,
            builder,
            target.platform,
            self._settings,
            partial(self._around.on_progress, target),
        )
        detail = "; ".join(filter(None, (result.detail, verdict.detail))) or None
        return {"outcome": result.outcome, "steps": result.steps, "detail": detail}

    async def _judge(self, target: Target) -> tuple[Builder | None, Verdict]:
        """Look at how the node is directly before a build, and decide."""
        if why := down(self._snapshot()):
            return None, Verdict(CanaryOutcome.SKIPPED, why)
        try:
            moment = await self._moment(target)
        except NodeError as error:
            return None, Verdict(CanaryOutcome.SKIPPED, line(f"the node is down: {error}"))
        except TimeoutError:
            said = "the node does not list its builders in time"
            return None, Verdict(CanaryOutcome.SKIPPED, said)
        prune = self._client.spec.prune
        verdict = judge(target, self._settings, prune.critical if prune else None, moment)
        return moment.builder, verdict

    async def _moment(self, target: Target) -> Moment:
        async with asyncio.timeout(_ASK_TIMEOUT):
            there = await self._client.builders(fresh=True)
        found = [b for b in there if b.selected and b.name == target.builder]
        return Moment(
            builder=found[0] if found else None,
            building=await self._building(there),
            pruning=self._around.pruning(),
            disk=await self._disk(),
        )

    async def _building(self, builders: Sequence[Builder]) -> int:
        """Count the builds on the node, those on builders that are not selected too.

        A builder that does not answer is taken to build none; its canary shows what it is.
        """
        asked = (running_builds(self._client, builder) for builder in builders if builder.running)
        counts = await asyncio.gather(*asked, return_exceptions=True)
        for problem in counts:
            if isinstance(problem, BaseException) and not _of_buildkit(problem):
                raise problem
        return sum(number for number in counts if isinstance(number, int))

    async def _disk(self) -> Disk | None:
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                return await self._around.look_at_disk()
        except (NodeError, TimeoutError):
            return None


class MultiarchCanary:
    """Builds over the whole farm when it is due."""

    def __init__(
        self,
        build: Callable[[], Awaitable[MultiarchRecord]],
        places: Places,
        record: Callable[[MultiarchRecord], Awaitable[None]],
    ) -> None:
        self._build = build
        self._places = places
        self._record = record
        self._due = asyncio.Event()

    def due(self) -> None:
        """Have it built soon. While it is being built nothing more is due."""
        self._due.set()

    async def run(self) -> None:
        """Build whenever it is due, until cancelled."""
        while True:
            await self._due.wait()
            try:
                async with self._places.all():
                    record = await self._build()
                tell_multiarch(record)
                await self._record(record)
            except Exception:  # a bug here must not end the nodes' own canaries
                log.exception("the canary build over the whole farm failed unexpectedly")
            self._due.clear()


def tell(record: CanaryRecord) -> None:
    """Log what came of a build."""
    facts = {"builder": record.builder, "platform": record.platform, "emulated": record.emulated}
    if record.outcome is CanaryOutcome.SKIPPED:
        log.info("canary skipped", why=record.detail, **facts)
        return
    facts |= {"seconds": round(record.duration, 2)}
    facts |= {step.value: round(time.seconds, 3) for step, time in record.steps.items()}
    if record.outcome is CanaryOutcome.OK:
        log.info("canary built", note=record.detail, **facts)
    else:
        log.warning("canary failed", outcome=record.outcome, why=record.detail, **facts)


def tell_multiarch(record: MultiarchRecord) -> None:
    """Log what came of a build over the whole farm."""
    facts = {"builder": record.builder, "seconds": round(record.duration, 1)}
    if record.outcome is CanaryOutcome.OK:
        log.info("multiarch canary built", platforms=record.pushed, **facts)
    else:
        log.warning("multiarch canary failed", outcome=record.outcome, why=record.detail, **facts)


def _of_buildkit(problem: BaseException) -> bool:
    return isinstance(problem, NodeError) and problem.layer is Layer.BUILDKIT


def _unknown(snapshot: Snapshot) -> bool:
    return snapshot.reachability is None or (snapshot.workers is None and not down(snapshot))
