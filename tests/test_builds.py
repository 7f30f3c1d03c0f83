"""Builds counted by the whole daemon, over simulated nodes on real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from exporter.app import look_once
from exporter.builds import Builds
from exporter.canaries import CANARY_ARGUMENT
from exporter.demo.blueprints import ENGINE_20, Blueprint, BuilderPlan
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.node import SimulatedNode
from exporter.storage.builds import BuildStore
from exporter.storage.database import open_database
from tests.test_app import Served, quick, up, watching

CANARY = {f"build-arg:{CANARY_ARGUMENT}": "1"}


KINDS = ["ssh", "tls", "buildkitd"]


@pytest.fixture
async def node(request: pytest.FixtureRequest) -> AsyncIterator[SimulatedNode]:
    """A node of the kind that the test asks for, else one behind SSH."""
    kind = getattr(request, "param", "ssh")
    remote = kind == "buildkitd"
    blueprint = Blueprint(
        "n1",
        way="ssh" if kind == "ssh" else "tls",
        remote=remote,
        builders=(BuilderPlan("buildkitd" if remote else "farm0", records=5),),
    )
    async with SimulatedNode(blueprint, rng=Random(1), clock=time.time) as node:
        yield node


@pytest.fixture
def builder(node: SimulatedNode) -> SimulatedBuilder:
    return list(node.machine.builders.values())[-1]


def named(metric: str, builder: SimulatedBuilder) -> str:
    return f'buildfarm_{metric}{{node="n1",builder="{builder.name}"}}'


def build(builder: SimulatedBuilder, number: int = 1, error: str | None = None) -> None:
    """Let builds begin and end, each end told of twice."""
    for _ in range(number):
        ref = builder.start_build()
        builder.finish_build(ref, adds=[4096], cached_steps=3, error=error)
        builder.history.amend(ref)


async def sees(served: Served, builder: SimulatedBuilder, running: int, total: int) -> None:
    await served.sees(named("builds_total", builder), total)
    await served.sees(named("builds_running", builder), running)


@pytest.mark.parametrize("node", KINDS, indirect=True)
async def test_builds_are_counted_as_they_happen(
    node: SimulatedNode, builder: SimulatedBuilder
) -> None:
    build(builder, 3)
    async with watching(*quick(node)) as served:
        await sees(served, builder, 0, 0)
        ref = builder.start_build()
        builder.history.complete(builder.history.start(CANARY), 5, 0)
        builder.history.start(CANARY)
        await sees(served, builder, 1, 0)
        builder.finish_build(ref, adds=[1, 2], cached_steps=4, error="exit code: 1")
        build(builder, 20)
        await sees(served, builder, 0, 21)
        assert await served.value(named("builds_failed_total", builder)) == 1
        assert await served.value(named("build_steps_total", builder)) == 7 + 20 * 4
        assert await served.value(named("build_steps_cached_total", builder)) == 4 + 20 * 3
        assert await served.value(named("build_duration_seconds_count", builder)) == 21


@pytest.mark.parametrize("node", KINDS, indirect=True)
@pytest.mark.parametrize("fault", [SimulatedNode.silence, SimulatedNode.refuse, SimulatedNode.hang])
async def test_a_broken_connection_changes_nothing(
    node: SimulatedNode, builder: SimulatedBuilder, fault: Callable[[SimulatedNode], None]
) -> None:
    async with watching(*quick(node)) as served:
        await sees(served, builder, 0, 0)
        build(builder, 2)
        over, goes_on = builder.start_build(), builder.start_build()
        await sees(served, builder, 2, 2)
        fault(node)
        await served.sees(up("n1"), 0)
        build(builder, 3, error="exit code: 1")
        builder.finish_build(over)
        await node.restore()
        await sees(served, builder, 1, 6)
        builder.finish_build(goes_on)
        await sees(served, builder, 0, 7)
        assert await served.value(named("builds_failed_total", builder)) == 3


async def test_builds_lost_with_their_daemon_neither_run_nor_count(
    node: SimulatedNode, builder: SimulatedBuilder
) -> None:
    async with watching(*quick(node)) as served:
        await sees(served, builder, 0, 0)
        build(builder)
        builder.start_build()
        await sees(served, builder, 1, 1)
        node.stop_daemon()
        await served.sees(up("n1"), 0)
        await node.restore()
        await sees(served, builder, 0, 1)
        build(builder)
        await sees(served, builder, 0, 2)


async def test_builds_while_no_daemon_ran_are_counted_with_a_store(
    node: SimulatedNode, builder: SimulatedBuilder, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/history.db"
    build(builder, 4)
    for total in (0, 3, 6):
        async with watching(*quick(node), storage=storage) as served:
            await sees(served, builder, 0, total)
            build(builder)
            await sees(served, builder, 0, total + 1)
        build(builder, 2)


async def test_what_is_counted_is_written_down_soon(
    node: SimulatedNode, builder: SimulatedBuilder, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/history.db"
    async with watching(*quick(node), storage=storage) as served, open_database(storage) as other:
        await sees(served, builder, 0, 0)
        build(builder, 5)

        async def written() -> bool:
            known = await BuildStore(other).load()
            key = ("n1", builder.name)
            return key in known and known[key][0].total == 5

        await served.until(written)


async def test_without_a_store_counting_begins_with_the_daemon(
    node: SimulatedNode, builder: SimulatedBuilder
) -> None:
    for _ in range(2):
        build(builder, 2)
        async with watching(*quick(node)) as served:
            await sees(served, builder, 0, 0)
            build(builder)
            await sees(served, builder, 0, 1)


async def test_builders_come_stop_and_go() -> None:
    async with (
        SimulatedNode(Blueprint("n1"), rng=Random(1), clock=time.time) as node,
        watching(*quick(node)) as served,
    ):
        new = node.machine.add_builder(BuilderPlan("farm0"))
        await sees(served, new, 0, 0)
        new.start_build()
        await sees(served, new, 1, 0)
        new.running = False
        new.crash()
        await sees(served, new, 0, 0)
        new.running = True
        build(new)
        await sees(served, new, 0, 1)
        node.machine.remove_builder("farm0")
        await served.sees(named("builds_total", new), None)
        await served.sees('buildfarm_collector_success{node="n1",collector="builds"}')


async def test_an_engine_without_history() -> None:
    blueprint = Blueprint("n1", engine=ENGINE_20)
    async with SimulatedNode(blueprint, rng=Random(1), clock=time.time) as node:
        async with watching(*quick(node)) as served:
            await served.sees('buildfarm_collector_success{node="n1",collector="builds"}')
            embedded = node.machine.builders["docker"]
            assert await served.value(named("builds_total", embedded)) is None
        snapshot = await look_once(quick(node)[0])
        assert snapshot.builds is not None
        assert snapshot.builds.value == (Builds("docker", told=False),)
        assert snapshot.collectors["builds"].success


async def test_one_look_tells_what_runs(node: SimulatedNode, builder: SimulatedBuilder) -> None:
    build(builder)
    builder.start_build()
    snapshot = await look_once(quick(node)[0])
    assert snapshot.builds is not None
    assert {b.builder: b.running for b in snapshot.builds.value}[builder.name] == 1
