"""What happens in the farm by itself, over a clock that the test moves."""

from __future__ import annotations

from itertools import groupby
from random import Random

import pytest

from exporter.demo.blueprints import GIB, Blueprint, BuilderPlan, blueprints
from exporter.demo.builder import NO_SPACE
from exporter.demo.node import SimulatedNode
from exporter.demo.story import Story

START = 1_800_000_000.0


class World:
    """Nodes without servers, and the story they are in."""

    def __init__(self, *nodes: Blueprint, seed: int = 1) -> None:
        self.now = START
        rng = Random(seed)
        self.nodes = [SimulatedNode(node, rng=rng, clock=self.clock) for node in nodes]
        self.story = Story(self.nodes, rng, self.clock)

    def clock(self) -> float:
        return self.now

    async def live(self, seconds: float) -> None:
        """Let time pass, action by action."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + max(await self.story.advance(), 1e-3), end)

    def picture(self) -> list[tuple[object, ...]]:
        return [
            (name, node.machine.disk, sorted(b.cache.records), sorted(b.history.past))
            for node in self.nodes
            for name, b in node.machine.builders.items()
        ]


@pytest.mark.parametrize("seed", range(3))
async def test_within_half_a_minute_everything_moves(seed: int) -> None:
    world = World(*blueprints(6), seed=seed)
    busy, flaky = world.nodes[:2]
    before = busy.machine.disk.available
    up: set[bool] = set()
    for _ in range(60):
        await world.live(0.5)
        up.add(flaky.reachable)
    assert before - busy.machine.disk.available > 2 * GIB
    assert up == {True, False}
    for node in world.nodes:
        # An outage may take along all builds so far.
        if node is not flaky:
            assert any(len(b.history.past) > 12 for b in node.machine.builders.values())


@pytest.mark.parametrize("seed", range(3))
async def test_it_looks_like_a_farm_from_the_first_second(seed: int) -> None:
    world = World(*blueprints(6), seed=seed)
    for node in world.nodes:
        disk = node.machine.disk
        assert 0.1 < disk.available / disk.size < 0.9
        assert disk.inodes_free > 0.2 * disk.inodes
    failed = [
        record.HasField("error")
        for node in world.nodes
        for builder in node.machine.builders.values()
        for record in builder.history.past.values()
    ]
    assert 0 < sum(failed) < len(failed) / 4


async def test_the_same_seed_is_the_same_farm() -> None:
    pictures = []
    for seed in (4, 4, 5):
        world = World(*blueprints(6), seed=seed)
        await world.live(60)
        pictures.append(world.picture())
    assert pictures[0] == pictures[1] != pictures[2]


async def test_a_node_that_fails_comes_back_and_fails_again() -> None:
    world = World(Blueprint("n", outages=True))
    (node,) = world.nodes
    changes = [True]
    for _ in range(300):
        await world.live(1)
        if node.reachable is not changes[-1]:
            changes.append(node.reachable)
    assert changes[:4] == [True, False, True, False]


async def test_a_cpu_that_gets_slow_recovers() -> None:
    world = World(Blueprint("n", cpu=400, throttled=True))
    speeds = []
    for _ in range(90):
        await world.live(10)
        speeds.append(world.nodes[0].machine.cpu)
    assert [speed for speed, _ in groupby(speeds)][:3] == [400, 100, 400]


async def test_builds_that_run_in_an_outage_are_lost() -> None:
    world = World(
        Blueprint("n", outages=True, builders=(BuilderPlan("b", records=9, build_every=1),))
    )
    builder = world.nodes[0].machine.builders["b"]
    await world.live(11.9)
    lost = set(builder.builds)
    assert lost
    assert builder.cache.in_use()
    await world.live(1)
    assert builder.cache.in_use() == set()
    await world.live(120)
    assert not lost & set(builder.history.past)
    assert builder.history.past


async def test_a_full_disk_fails_builds_until_somebody_clears_it() -> None:
    plan = BuilderPlan("b", records=20, record_size=GIB, build_every=2.0, failing=0.0)
    world = World(Blueprint("n", builders=(plan,), disk_size=60 * GIB, disk_base=10 * GIB))
    (node,) = world.nodes
    builder = node.machine.builders["b"]
    errors, free = set(), []
    for _ in range(300):
        await world.live(1)
        errors |= {record.error.message for record in builder.history.past.values()}
        free.append(node.machine.disk.available)
    assert NO_SPACE in errors
    assert min(free) >= 0
    assert max(free[free.index(min(free)) :]) > 10 * GIB


async def test_buildkits_own_collection_holds_its_cap_once_a_minute() -> None:
    plan = BuilderPlan("b", records=40, record_size=GIB // 4, gc_keep=4 * GIB)
    world = World(Blueprint("n", builders=(plan,)))
    builder = world.nodes[0].machine.builders["b"]
    builder.collect_garbage()
    assert 3 * GIB < builder.cache.size < 4 * GIB
    builder.cache.add(size=5 * GIB, now=world.now - 1, used=world.now - 1)
    for seconds, kept in ((59.0, True), (1.0, False)):
        world.now += seconds
        builder.collect_garbage()
        assert (builder.cache.size > 4 * GIB) is kept


async def test_a_removed_builder_builds_no_more() -> None:
    world = World(Blueprint("n", builders=(BuilderPlan("b", build_every=1.0),)))
    machine = world.nodes[0].machine
    builder = machine.builders["b"]
    await world.live(10)
    machine.remove_builder("b")
    await world.live(30)
    assert builder.history.active == {}


def test_nobody_but_root_may_fill_the_last_twentieth_of_a_disk() -> None:
    machine = World(Blueprint("n", disk_size=100 * GIB, disk_base=30 * GIB)).nodes[0].machine
    assert machine.disk.available == 65 * GIB


async def test_a_farm_without_builds_costs_nothing() -> None:
    world = World(*(Blueprint(f"n{i}", builders=(BuilderPlan("b"),)) for i in range(5)))
    assert await world.story.advance() >= 3600


def test_names_are_unique_and_the_first_nodes_of_every_farm_are_the_same() -> None:
    farm = list(blueprints(500))
    assert len({blueprint.name for blueprint in farm}) == 500
    assert farm[:6] == list(blueprints(6))
