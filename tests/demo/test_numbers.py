"""Our own client over the simulated farm learns what the simulation knows, to the byte."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest

from exporter.app import look_once
from exporter.demo.blueprints import ENGINE_20, GIB, MIB, Blueprint, BuilderPlan, blueprints
from exporter.demo.farm import DemoFarm
from exporter.demo.machine import Machine
from exporter.demo.node import SimulatedNode
from exporter.model import DiskSettings, Snapshot

DAY = 86400.0
NAMES = [blueprint.name for blueprint in blueprints(7)]


@pytest.fixture
async def farm() -> AsyncIterator[DemoFarm]:
    """Seven nodes, one of each kind, in which nothing happens, but a build runs everywhere."""
    async with DemoFarm(7, rng=Random(11), clock=time.time, story=False) as farm:
        for node in farm.nodes:
            for builder in node.machine.builders.values():
                builder.start_build()
        yield farm


async def looked_at(node: SimulatedNode) -> Snapshot:
    snapshot = await look_once(node.spec)
    errors = {name: state.error for name, state in snapshot.collectors.items() if state.error}
    assert errors == {}
    return snapshot


@pytest.mark.parametrize("name", NAMES)
async def test_caches(farm: DemoFarm, name: str) -> None:
    node = farm[name]
    snapshot = await looked_at(node)
    assert snapshot.cache is not None
    found = {cache.builder: cache for cache in snapshot.cache.value}
    assert set(found) == set(node.machine.builders)
    for builder, cache in found.items():
        records = list(node.machine.builders[builder].cache.records.values())
        used = node.machine.builders[builder].cache.in_use()
        sizes: Counter[str] = Counter()
        for record in records:
            sizes[record.kind] += record.visible_size
        assert {kind: t.size for kind, t in cache.types.items()} == dict(sizes)
        assert {kind: t.records for kind, t in cache.types.items()} == Counter(
            record.kind for record in records
        )
        assert cache.in_use == sum(r.visible_size for r in records if r.id in used)
        assert cache.reclaimable == sum(r.visible_size for r in records if r.id not in used)
        assert cache.shared == sum(r.visible_size for r in records if r.shared)
        assert cache.idle["7d"] == sum(
            r.visible_size
            for r in records
            if r.id not in used and (r.used or r.created) < time.time() - 7 * DAY
        )


@pytest.mark.parametrize("name", NAMES)
async def test_disk(farm: DemoFarm, name: str) -> None:
    node = farm[name]
    snapshot = await looked_at(node)
    assert snapshot.disk is not None
    disk, truth = snapshot.disk.value, node.machine.disk
    assert (disk.path, disk.size, disk.available, disk.inodes, disk.inodes_free) == (
        truth.path,
        truth.size,
        truth.available,
        truth.inodes,
        truth.inodes_free,
    )


@pytest.mark.parametrize("name", NAMES)
async def test_engine_and_builders(farm: DemoFarm, name: str) -> None:
    node = farm[name]
    blueprint = node.blueprint
    snapshot = await looked_at(node)
    assert snapshot.workers is not None
    engine = snapshot.workers.value.engine
    if blueprint.remote:
        assert engine is None
    else:
        assert engine is not None
        assert (engine.version, engine.arch) == (blueprint.engine.version, blueprint.arch)
    for worker in snapshot.workers.value.workers:
        plan = node.machine.builders[worker.builder.name].plan
        assert (worker.version, worker.gc_keep) == (plan.version, plan.gc_keep)
        emulated = {p.platform for p in worker.platforms if p.emulated}
        assert emulated == set(blueprint.emulated)


async def test_orphaned_volumes(farm: DemoFarm) -> None:
    snapshot = await looked_at(farm["arm64-1"])
    assert snapshot.orphans is not None
    assert snapshot.orphans.value.volumes == ("buildx_buildkit_old0_state",)
    assert snapshot.orphans.value.size == 7 * GIB + 318 * MIB


async def test_the_end_of_a_certificate(farm: DemoFarm) -> None:
    snapshot = await looked_at(farm["arm64-2"])
    assert snapshot.certificates is not None
    ends = snapshot.certificates.value.server
    assert ends is not None
    assert 8 * DAY < ends - time.time() < 9 * DAY


async def test_the_disk_without_a_node_exporter(farm: DemoFarm) -> None:
    """It is had from ``stat`` in a builder's container."""
    node = farm["arm64-2"]
    snapshot = await look_once(dataclasses.replace(node.spec, disk=DiskSettings()))
    assert snapshot.disk is not None
    assert snapshot.disk.value.available == node.machine.disk.available


async def test_what_changes_is_seen() -> None:
    plan = BuilderPlan("farm0", records=3)
    async with SimulatedNode(
        Blueprint("n", builders=(plan,), engine=ENGINE_20), rng=Random(2), clock=time.time
    ) as node:
        before = await looked_at(node)
        builder = node.machine.builders["farm0"]
        ref = builder.start_build()
        builder.finish_build(ref, adds=[5 * MIB])
        after = await looked_at(node)
        node.machine.remove_builder("farm0", keep_volume=True)
        at_last = await looked_at(node)
    assert before.cache is not None
    assert after.cache is not None
    assert at_last.orphans is not None
    sizes = [sum(cache.size for cache in s.cache.value) for s in (before, after) if s.cache]
    assert sizes[1] - sizes[0] == 5 * MIB
    assert at_last.orphans.value.size == sizes[1]


def test_work_takes_longer_on_a_slower_machine_and_under_emulation() -> None:
    def seconds(cpu: int, disk_speed: int) -> tuple[float, float, float]:
        blueprint = Blueprint("n", cpu=cpu, disk_speed=disk_speed)
        machine = Machine(blueprint, Random(1), time.time)
        native, emulated = (machine.hashing(GIB, p) for p in ("linux/386", "linux/arm64"))
        return native, emulated / native, machine.writing(GIB)

    fast = seconds(cpu=GIB, disk_speed=GIB // 2)
    slow = seconds(cpu=GIB // 4, disk_speed=GIB // 8)
    assert fast == pytest.approx((1.0, 6.0, 2.0), rel=0.3)
    assert slow == pytest.approx((4.0, 6.0, 8.0), rel=0.3)
