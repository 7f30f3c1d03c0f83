"""BuildKit's Control API over the wire, asked by a gRPC client that is not ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from exporter.buildkit import control_pb2 as pb
from exporter.demo.blueprints import MIB, Blueprint, BuilderPlan
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.node import SimulatedNode
from exporter.model import TcpEndpoint
from exporter.transports.tcp import client_context

SERVICE = "/moby.buildkit.v1.Control/"


def kitd(**plan: Any) -> SimulatedNode:
    blueprint = Blueprint(
        "kitd", way="tls", remote=True, builders=(BuilderPlan("buildkitd", **plan),)
    )
    return SimulatedNode(blueprint, rng=Random(6), clock=time.time)


class Peer:
    """A client of one node's buildkitd."""

    def __init__(self, node: SimulatedNode) -> None:
        endpoint = node.spec.endpoint
        assert isinstance(endpoint, TcpEndpoint)
        assert endpoint.tls is not None
        context = client_context(endpoint.tls, ("h2",))
        self.channel = Channel(endpoint.host, endpoint.port, ssl=context)
        self.builder: SimulatedBuilder = node.machine.builders["buildkitd"]
        self.node = node

    async def call(self, name: str, request: Any, kind: type[Any]) -> Any:
        method = UnaryUnaryMethod[Any, Any](self.channel, SERVICE + name, type(request), kind)
        return await method(request, timeout=10)

    async def stream(self, name: str, request: Any, kind: type[Any]) -> list[Any]:
        method = UnaryStreamMethod[Any, Any](self.channel, SERVICE + name, type(request), kind)
        return list(await method(request, timeout=10))

    async def prune(self, **wish: Any) -> list[Any]:
        return await self.stream("Prune", pb.PruneRequest(**wish), pb.UsageRecord)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with kitd(records=30) as node:
        peer = Peer(node)
        yield peer
        peer.channel.close()


async def test_prune_tells_what_it_removed_and_frees_the_disk(peer: Peer) -> None:
    cache = peer.builder.cache
    before, free = cache.size, peer.node.machine.disk.available
    gone = await peer.prune(reservedSpace=before // 2, all=True)
    assert sum(record.Size for record in gone) == before - cache.size
    assert before // 4 < cache.size < before // 2
    assert abs(peer.node.machine.disk.available - free - (before - cache.size)) <= 4096
    assert peer.builder.prunes == [pb.PruneRequest(reservedSpace=before // 2, all=True)]


async def test_all_limits_zero_takes_everything(peer: Peer) -> None:
    await peer.prune(all=True)
    assert peer.builder.cache.records == {}


async def test_what_a_build_uses_survives_even_that(peer: Peer) -> None:
    peer.builder.start_build()
    used = peer.builder.cache.in_use()
    assert used
    await peer.prune(all=True)
    assert set(peer.builder.cache.records) == used


@pytest.mark.parametrize(
    ("version", "left"), [("v0.16.0", False), ("v0.17.0", True)], ids=["0.16", "0.17"]
)
async def test_daemons_before_0_17_do_not_know_the_newer_limits(version: str, left: bool) -> None:
    """So that a request with only those wipes their cache."""
    async with kitd(records=30, version=version) as node:
        peer = Peer(node)
        await peer.prune(maxUsedSpace=peer.builder.cache.size, all=True)
        peer.channel.close()
        assert bool(peer.builder.cache.records) is left


async def test_a_filter_that_cannot_be_read_removes_nothing(peer: Peer) -> None:
    with pytest.raises(GRPCError, match="failed to parse filters") as caught:
        await peer.prune(filter=["type="])
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert len(peer.builder.cache.records) == 30


async def test_disk_usage_can_be_filtered(peer: Peer) -> None:
    request = pb.DiskUsageRequest(filter=["type==source.local"])
    reply = await peer.call("DiskUsage", request, pb.DiskUsageResponse)
    wanted = {r.id for r in peer.builder.cache.records.values() if r.kind == "source.local"}
    assert {record.ID for record in reply.record} == wanted


async def test_an_answer_larger_than_the_clients_window_arrives_whole(peer: Peer) -> None:
    for _ in range(12_000):
        peer.builder.cache.add(size=MIB, now=1.0, description="RUN " + "x" * 400)
    reply = await peer.call("DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse)
    assert reply.ByteSize() > 5 * MIB
    assert len(reply.record) == 12_030


async def test_builds_are_told_as_they_happen(peer: Peer) -> None:
    method = UnaryStreamMethod[Any, Any](
        peer.channel,
        f"{SERVICE}ListenBuildHistory",
        pb.BuildHistoryRequest,
        pb.BuildHistoryEvent,
    )
    async with method.open(timeout=10) as stream:
        await stream.send_message(pb.BuildHistoryRequest(ActiveOnly=True), end=True)
        await stream.recv_initial_metadata()
        ref = peer.builder.start_build("linux/riscv64")
        started = await stream.recv_message()
        peer.builder.finish_build(ref, adds=[MIB, MIB], cached_steps=3, error="exit code: 2")
        ended = await stream.recv_message()
        await stream.cancel()
    assert started is not None
    assert ended is not None
    assert (started.type, started.record.Ref) == (pb.STARTED, ref)
    assert started.record.FrontendAttrs["platform"] == "linux/riscv64"
    assert (ended.type, ended.record.error.message) == (pb.COMPLETE, "exit code: 2")
    assert (ended.record.numTotalSteps, ended.record.numCachedSteps) == (6, 3)


def prunes_under_way() -> bool:
    return any(task.get_name().endswith("/Prune") for task in asyncio.all_tasks())


@pytest.fixture
async def long_prune(peer: Peer) -> AsyncIterator[asyncio.Task[Any]]:
    """A prune of two thousand records that has begun."""
    for _ in range(2000):
        peer.builder.cache.add(size=MIB, now=1.0)
    task = asyncio.create_task(peer.prune(reservedSpace=1, all=True))
    async with asyncio.timeout(10):
        while len(peer.builder.cache.records) == 2030:
            await asyncio.sleep(0.001)
    yield task
    task.cancel()
    await asyncio.wait([task])


async def test_a_cancelled_prune_stops(peer: Peer, long_prune: asyncio.Task[Any]) -> None:
    long_prune.cancel()
    async with asyncio.timeout(10):
        while prunes_under_way():
            await asyncio.sleep(0.001)
    assert len(peer.builder.cache.records) > 0


async def test_a_prune_stops_with_its_machine(peer: Peer, long_prune: asyncio.Task[Any]) -> None:
    peer.node.silence()
    async with asyncio.timeout(10):
        while prunes_under_way():
            await asyncio.sleep(0.001)
    assert len(peer.builder.cache.records) > 0
    assert not long_prune.done()


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("v0.32.2", set()),
        ("v0.11.7", {"Info"}),
        ("", {"Info", "ListenBuildHistory"}),
    ],
)
async def test_what_a_daemon_does_not_know_is_unimplemented(
    version: str, missing: set[str]
) -> None:
    found: dict[str, Status] = {}
    async with kitd(version=version) as node:
        peer = Peer(node)
        for name in ("ListWorkers", "DiskUsage", "Info", "ListenBuildHistory"):
            try:
                await peer.stream(name, pb.BuildHistoryRequest(EarlyExit=True), pb.InfoResponse)
            except GRPCError as error:
                found[name] = error.status
        peer.channel.close()
    assert found == dict.fromkeys(missing, Status.UNIMPLEMENTED)
