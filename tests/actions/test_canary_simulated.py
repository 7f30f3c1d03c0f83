"""Canary builds on simulated nodes of every kind, over real SSH and TLS connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from exporter.actions.canary import CanaryProgress, CanaryResult, run_canary
from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.llb import text_file
from exporter.buildkit.node import NodeClient
from exporter.canaries import CanaryOutcome, Step
from exporter.demo.blueprints import MIB
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.node import SimulatedNode
from exporter.model import Builder, CanarySettings
from exporter.transports import open_transport
from tests.actions.test_simulated_nodes import KINDS

SETTINGS = CanarySettings(cpu=4 * MIB, disk=12 * MIB, timeout=60.0)
NATIVE = "linux/amd64"


@dataclass
class Stage:
    """A node on which users have built before, and our connection to it."""

    node: SimulatedNode
    client: NodeClient
    builder: Builder

    @property
    def simulated(self) -> SimulatedBuilder:
        return self.node.machine.builders[self.builder.name]

    async def run(self, platform: str = NATIVE, **settings: Any) -> CanaryResult:
        wanted = replace(SETTINGS, **settings)
        return await run_canary(self.client, self.builder, platform, wanted)

    def picture(self) -> tuple[object, ...]:
        """All that a canary must leave as it was."""
        simulated, machine = self.simulated, self.node.machine
        return (
            {r.id: (r.size, r.used, r.count) for r in simulated.cache.records.values()},
            simulated.cache.in_use(),
            list(simulated.history.past),
            list(simulated.history.active),
            list(simulated.jobs.running),
            list(machine.images),
            machine.disk.available,
        )


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    blueprint = replace(KINDS[request.param], emulated=("linux/arm64",))
    async with SimulatedNode(blueprint, rng=Random(4), clock=time.time) as node:
        client = NodeClient(node.spec, open_transport(node.spec, Random(4)))
        (builder,) = [b for b in await client.builders(fresh=True) if b.selected]
        stage = Stage(node, client, builder)
        cache, now = stage.simulated.cache, time.time()
        below = [cache.add(size=MIB, now=now, description="pulled from docker.io/library/base").id]
        for kind in ("regular", "source.local", "exec.cachemount", "internal", "frontend"):
            cache.add(size=MIB, now=now, used=now, kind=kind, count=1, parents=below)
        yield stage
        await client.close()


@pytest.mark.parametrize("platform", [NATIVE, "linux/arm64"])
async def test_each_step_is_timed_and_nothing_is_left(stage: Stage, platform: str) -> None:
    before = stage.picture()
    result = await stage.run(platform)
    assert (result.outcome, result.detail) == (CanaryOutcome.OK, None)
    assert list(result.steps) == list(Step)
    assert all(time.seconds > 0 and not time.cached for time in result.steps.values())
    assert stage.picture() == before


async def test_a_base_image_that_users_built_on_is_not_pulled_and_stays(stage: Stage) -> None:
    control = stage.client.new_control(stage.builder)
    work = text_file("Dockerfile", f"FROM {SETTINGS.base_image}\nRUN true\n", "load it")
    inputs = {"dockerfile": work, "context": work}
    await control.solve(pb.SolveRequest(Ref="u", Frontend="dockerfile.v0", FrontendInputs=inputs))
    control.close()
    there = set(stage.simulated.cache.records)
    result = await stage.run()
    assert result.outcome is CanaryOutcome.OK
    assert result.steps[Step.PULL].cached
    assert set(stage.simulated.cache.records) == there


async def test_a_build_that_fails_says_why(stage: Stage) -> None:
    before = stage.picture()
    result = await stage.run(base_image="registry.example.com/base")
    assert result.outcome is CanaryOutcome.FAILED
    assert "no such host" in (result.detail or "")
    assert stage.picture() == before


async def test_a_full_disk_is_what_failed(stage: Stage) -> None:
    machine = stage.node.machine
    machine.orphans["other"] = machine.disk.available - 12 * MIB
    before = stage.picture()
    result = await stage.run()
    assert result.outcome is CanaryOutcome.FAILED
    assert "No space left on device" in (result.detail or "")
    assert list(result.steps)[:2] == [Step.PULL, Step.CPU]
    assert stage.picture() == before


async def test_what_takes_too_long_is_cancelled_on_the_node(stage: Stage) -> None:
    before = stage.picture()
    stage.node.machine.cpu = 1.0
    result = await stage.run(timeout=1.5)
    assert result.outcome is CanaryOutcome.TIMEOUT
    assert stage.picture() == before


async def test_who_cancels_a_canary_leaves_nothing_either(stage: Stage) -> None:
    before = stage.picture()
    stage.node.machine.cpu = 1.0
    hashing = asyncio.Event()

    def watch(progress: CanaryProgress) -> None:
        if progress.step is Step.CPU:
            hashing.set()

    canary = asyncio.create_task(run_canary(stage.client, stage.builder, NATIVE, SETTINGS, watch))
    async with asyncio.timeout(20):
        await hashing.wait()
    assert list(stage.simulated.jobs.running)
    assert stage.picture() != before
    canary.cancel()
    with pytest.raises(asyncio.CancelledError):
        await canary
    assert stage.picture() == before


async def test_a_daemon_that_dies_meanwhile_is_no_exception(stage: Stage) -> None:
    stage.node.machine.cpu = 1.0
    canary = asyncio.create_task(stage.run())
    async with asyncio.timeout(20):
        while not stage.simulated.jobs.running:
            await asyncio.sleep(0.001)
    stage.node.stop_daemon()
    assert (await canary).outcome is CanaryOutcome.FAILED


async def test_a_platform_that_is_not_there_fails(stage: Stage) -> None:
    result = await stage.run("linux/s390x")
    assert result.outcome is CanaryOutcome.FAILED
    assert "exec format error" in (result.detail or "")
