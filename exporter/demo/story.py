"""What happens in a simulated farm: builds come and go, a disk fills, nodes fail and get slow."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from exporter.demo.blueprints import MIB
from exporter.demo.builder import NO_SPACE, SimulatedBuilder
from exporter.demo.cache import PruneLimits
from exporter.demo.node import SimulatedNode

_AT_ONCE = 4

# Seconds: how long builds and outages take, and what lies between outages.
_BUILD = (3.0, 14.0)
_FIRST_OUTAGE = 12.0
_OUTAGE = (14.0, 22.0)
_BETWEEN_OUTAGES = (40.0, 90.0)

# Seconds: how long a CPU is cool before it gets hot, and then hot; and how slow it is then.
_COOL = (120.0, 240.0)
_HOT = (180.0, 300.0)
_THROTTLED = 0.25

# BuildKit tells of a build a second time when its trace is stored.
_TRACE = 3.0

# Somebody notices a full disk after a while, and clears the caches out.
_FULL = 0.02
_NOTICED = (25.0, 45.0)
_LEFT = 0.35

Action = Callable[[], Awaitable[None]]


class Story:
    """An agenda of things to come. Between them nothing runs, however large the farm is."""

    def __init__(
        self, nodes: Sequence[SimulatedNode], rng: Random, clock: Callable[[], float]
    ) -> None:
        self._rng = rng
        self._clock = clock
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = itertools.count()
        self._to_be_cleared: set[SimulatedNode] = set()
        for node in nodes:
            for builder in node.machine.builders.values():
                if builder.plan.build_every is not None:
                    every = builder.plan.build_every
                    begin = partial(self._begin_build, node, builder, every)
                    self._after(rng.uniform(0, every / 3), begin)
            if node.blueprint.outages:
                self._after(_FIRST_OUTAGE, partial(self._fail, node, silently=True))
            if node.blueprint.throttled:
                self._after(rng.uniform(*_COOL), partial(self._heat, node))

    async def run(self) -> None:
        """Let things happen until cancelled."""
        while True:
            pause = await self.advance()
            await asyncio.sleep(pause)

    async def advance(self) -> float:
        """Do all that is due; seconds until more is."""
        while self._agenda and self._agenda[0][0] <= self._clock():
            _, _, action = heapq.heappop(self._agenda)
            await action()
        return max(self._agenda[0][0] - self._clock(), 0.0) if self._agenda else 3600.0

    def _after(self, seconds: float, action: Action) -> None:
        heapq.heappush(self._agenda, (self._clock() + seconds, next(self._order), action))

    async def _begin_build(
        self, node: SimulatedNode, builder: SimulatedBuilder, every: float
    ) -> None:
        again = partial(self._begin_build, node, builder, every)
        self._after(self._rng.expovariate(1 / every), again)
        there = node.machine.builders.get(builder.plan.name) is builder and builder.running
        if there and node.reachable and len(builder.builds) < _AT_ONCE:
            ref = builder.start_build()
            self._after(self._rng.uniform(*_BUILD), partial(self._finish_build, node, builder, ref))

    async def _finish_build(self, node: SimulatedNode, builder: SimulatedBuilder, ref: str) -> None:
        if ref not in builder.builds:  # lost in a crash
            return
        adds, cached, error = builder.invent_build()
        if sum(adds) > node.machine.disk.available:
            adds, error = [], NO_SPACE
        for record in builder.builds[ref].held:
            if record.mutable:
                builder.cache.grow(record, self._rng.randrange(8) * MIB)
        builder.finish_build(ref, adds, cached, error)
        builder.collect_garbage()
        self._after(_TRACE, partial(self._store_trace, builder, ref))
        disk = node.machine.disk
        if disk.available < _FULL * disk.size and node not in self._to_be_cleared:
            self._to_be_cleared.add(node)
            self._after(self._rng.uniform(*_NOTICED), partial(self._clear_out, node))

    async def _store_trace(self, builder: SimulatedBuilder, ref: str) -> None:
        builder.history.amend(ref)

    async def _clear_out(self, node: SimulatedNode) -> None:
        self._to_be_cleared.discard(node)
        disk = node.machine.disk
        if disk.available > 2 * _FULL * disk.size:  # somebody was faster
            return
        for builder in node.machine.builders.values():
            limits = PruneLimits(all=True, reserved=int(builder.cache.size * _LEFT))
            for _ in builder.cache.prune(limits, disk.available, self._clock()):
                await asyncio.sleep(0)

    async def _fail(self, node: SimulatedNode, silently: bool) -> None:
        node.machine.crash()
        if silently:
            node.silence()
        else:
            node.refuse()
        self._after(self._rng.uniform(*_OUTAGE), partial(self._recover, node, silently))

    async def _recover(self, node: SimulatedNode, silently: bool) -> None:
        await node.restore()
        self._after(self._rng.uniform(*_BETWEEN_OUTAGES), partial(self._fail, node, not silently))

    async def _heat(self, node: SimulatedNode) -> None:
        node.machine.cpu = node.blueprint.cpu * _THROTTLED
        self._after(self._rng.uniform(*_HOT), partial(self._cool, node))

    async def _cool(self, node: SimulatedNode) -> None:
        node.machine.cpu = node.blueprint.cpu
        self._after(self._rng.uniform(*_COOL), partial(self._heat, node))
