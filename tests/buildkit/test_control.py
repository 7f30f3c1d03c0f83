"""The Control API against a gRPC server that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from h2.errors import ErrorCodes
from h2.events import StreamReset

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.control import Control
from exporter.errors import Layer, NodeError, Reason, RemoteError, UnsupportedError
from exporter.model import UnixEndpoint
from exporter.transports.unix import UnixTransport
from tests.buildkit.peer import Peer
from tests.support.buildkit import FakeControl, grpc_server
from tests.support.scripted import Dials

MIB = 1024 * 1024


class Farm:
    """A daemon and a client of it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.daemon = FakeControl()
        self.transport = UnixTransport(UnixEndpoint(str(socket)), Layer.BUILDKIT)
        self.control = Control(self.transport.dial, "n1/farm0")


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Farm]:
    farm = Farm(tmp_path / "buildkitd.sock")
    async with grpc_server(farm.daemon, farm.socket):
        yield farm
        farm.control.close()


async def test_info_and_workers(farm: Farm) -> None:
    farm.daemon.workers = [pb.WorkerRecord(ID="w1", platforms=[pb.Platform(OS="linux")])]
    assert (await farm.control.info()).buildkitVersion.version == "v0.32.2"
    assert await farm.control.list_workers() == farm.daemon.workers


async def test_disk_usage_gives_every_field_of_every_record(farm: Farm) -> None:
    """Thousands of records come in one message of megabytes."""
    farm.daemon.records = [
        pb.UsageRecord(
            ID=f"record{n}",
            Parents=[f"record{n - 1}"],
            Size=n * MIB,
            InUse=n % 2 == 0,
            Shared=n % 3 == 0,
            RecordType="regular",
            Description="mount / from exec " + "x" * 200,
            UsageCount=n,
            CreatedAt=Timestamp(seconds=1_700_000_000 + n),
            LastUsedAt=Timestamp(seconds=1_800_000_000 + n),
        )
        for n in range(5000)
    ]
    assert await farm.control.disk_usage(["type==regular"]) == farm.daemon.records
    assert farm.daemon.requests == [pb.DiskUsageRequest(filter=["type==regular"])]


async def test_calls_at_the_same_time_share_one_connection(farm: Farm) -> None:
    await asyncio.gather(
        *(farm.control.info() for _ in range(20)), farm.control.disk_usage(), _prune(farm)
    )
    assert farm.transport.connects == 1


async def test_a_connection_that_ended_while_idle_costs_no_call() -> None:
    """A daemon that was restarted is simply dialled again."""
    peers = [Peer(lambda peer, stream: peer.answer(stream, b"")) for _ in range(2)]
    dials = Dials(*(peer.duplex for peer in peers))
    control = Control(dials, "n1/farm0")
    await control.info()
    await control.info()
    assert dials.made == 1
    peers[0].duplex.end()
    await control.info()
    assert dials.made == 2


async def _prune(farm: Farm, keep: int = 10 * MIB) -> list[pb.UsageRecord]:
    return [record async for record in farm.control.prune(keep)]


async def test_prune_yields_what_is_removed_and_sends_field_four_only(farm: Farm) -> None:
    """Older daemons ignore fields 5 and 6, and take a request with only those for "all"."""
    farm.daemon.records = [pb.UsageRecord(ID="a", Size=3), pb.UsageRecord(ID="b", Size=4)]
    removed = [
        record.ID
        async for record in farm.control.prune(10 * MIB, all=True, filters=["type!=frontend"])
    ]
    assert removed == ["a", "b"]
    (request,) = farm.daemon.requests
    assert {field.number for field, _ in request.ListFields()} == {1, 2, 4}
    assert (request.filter, request.all, request.reservedSpace) == (
        ["type!=frontend"],
        True,
        10 * MIB,
    )


@pytest.mark.parametrize("keep", [0, -1])
async def test_prune_does_not_empty_a_cache_by_mistake(farm: Farm, keep: int) -> None:
    with pytest.raises(ValueError, match="would empty the cache"):
        await _prune(farm, keep)
    assert farm.daemon.requests == []


async def test_prune_empties_a_cache_when_told_in_so_many_words(farm: Farm) -> None:
    assert [record async for record in farm.control.prune(0, empty=True)] == []
    assert farm.daemon.requests == [pb.PruneRequest()]


async def test_a_failure_in_the_middle_of_a_prune_is_raised_after_its_records(farm: Farm) -> None:
    farm.daemon.records = [pb.UsageRecord(ID="a")]
    farm.daemon.fails["Prune"] = GRPCError(Status.INTERNAL, "disk I/O error")
    removed = farm.control.prune(MIB)
    assert (await anext(removed)).ID == "a"
    with pytest.raises(RemoteError, match="Prune: disk I/O error"):
        await anext(removed)


async def test_exactly_the_named_records_are_removed(farm: Farm) -> None:
    """The filters are tried out first; of "all", only the field that means every type is sent."""
    farm.daemon.records = [pb.UsageRecord(ID=name) for name in ("a1", "b2", "c3")]
    assert await farm.control.remove({"a1", "c3", "gone"}) == {"a1", "c3"}
    look, prune = farm.daemon.requests
    assert set(look.filter) == {"id==a1", "id==c3", "id==gone"}
    assert set(prune.filter) == {"id==a1", "id==c3"}
    assert {field.number for field, _ in prune.ListFields()} == {1, 2}
    assert prune.all


async def test_records_that_are_not_there_are_not_asked_to_be_removed(farm: Farm) -> None:
    farm.daemon.records = [pb.UsageRecord(ID="a1")]
    assert await farm.control.remove(["gone"]) == set()
    assert [type(request) for request in farm.daemon.requests] == [pb.DiskUsageRequest]


async def test_nothing_is_removed_without_names(farm: Farm) -> None:
    with pytest.raises(ValueError, match="that would remove all"):
        await farm.control.remove([])
    assert farm.daemon.requests == []


@pytest.mark.parametrize("name", ["", "a,b", 'a"', "a==b", "a b"])
async def test_nothing_is_removed_by_a_name_that_a_filter_may_misread(
    farm: Farm, name: str
) -> None:
    with pytest.raises(UnsupportedError, match="can't be filtered by; no record is removed"):
        await farm.control.remove(["a1", name])
    assert farm.daemon.requests == []


async def test_nothing_is_removed_by_a_daemon_that_ignores_filters(farm: Farm) -> None:
    farm.daemon.records = [pb.UsageRecord(ID="a1"), pb.UsageRecord(ID="users")]
    farm.daemon.filters = False
    with pytest.raises(UnsupportedError, match="does not filter its records by ID"):
        await farm.control.remove(["a1"])
    assert [type(request) for request in farm.daemon.requests] == [pb.DiskUsageRequest]


async def test_a_build_and_what_is_told_of_it(farm: Farm) -> None:
    farm.daemon.updates = [
        pb.StatusResponse(vertexes=[pb.Vertex(digest="sha256:1", name="RUN true")]),
        pb.StatusResponse(logs=[pb.VertexLog(vertex="sha256:1", msg=b"hello")]),
    ]
    request = pb.SolveRequest(Ref="r1", Frontend="dockerfile.v0", Internal=True)
    assert await farm.control.solve(request) == pb.SolveResponse()
    assert [update async for update in farm.control.status("r1")] == farm.daemon.updates
    assert farm.daemon.requests == [request, pb.StatusRequest(Ref="r1")]


async def test_a_build_that_is_given_up_is_cancelled_at_the_daemon() -> None:
    """Not only the connection's end tells the daemon, which others may be using."""
    peer = Peer()
    control = Control(Dials(peer.duplex), "n1/farm0")
    build = asyncio.create_task(control.solve(pb.SolveRequest(Ref="r1")))
    while not peer.body:
        await asyncio.sleep(0)
    build.cancel()
    await asyncio.wait([build])
    assert [event.error_code for event in peer.saw(StreamReset)] == [ErrorCodes.CANCEL]
    control.close()


async def test_running_builds_are_counted_once_each(farm: Farm) -> None:
    def event(kind: pb.BuildHistoryEventType, ref: str) -> pb.BuildHistoryEvent:
        return pb.BuildHistoryEvent(type=kind, record=pb.BuildHistoryRecord(Ref=ref))

    farm.daemon.events = [
        event(pb.STARTED, "one"),
        event(pb.STARTED, "two"),
        event(pb.STARTED, "one"),
        event(pb.COMPLETE, "two"),
    ]
    assert await farm.control.running_builds() == 1
    assert farm.daemon.requests == [pb.BuildHistoryRequest(ActiveOnly=True, EarlyExit=True)]


async def test_an_old_daemon_does_not_tell_of_builds_nor_of_itself(farm: Farm) -> None:
    farm.daemon.missing = {"ListenBuildHistory", "Info"}
    async with grpc_server(farm.daemon, farm.socket.with_name("old.sock")):
        old = Farm(farm.socket.with_name("old.sock"))
        assert await old.control.running_builds() is None
        with pytest.raises(UnsupportedError):
            await old.control.info()
        old.control.close()


async def test_a_refusal_is_told_in_the_daemons_words(farm: Farm) -> None:
    farm.daemon.fails["Info"] = GRPCError(Status.PERMISSION_DENIED, "not for you: ünwanted")
    with pytest.raises(RemoteError, match="n1/farm0: Info: not for you: ünwanted") as caught:
        await farm.control.info()
    assert caught.value.reason is Reason.PERMISSION


async def test_another_service_than_buildkit_is_a_protocol_error() -> None:
    def answer(peer: Peer, stream: int) -> None:
        peer.answer(stream, b"\xff\xff\xff")

    control = Control(Dials(Peer(answer).duplex), "n1/farm0")
    with pytest.raises(NodeError, match="not the message expected") as caught:
        await control.list_workers()
    assert caught.value.reason is Reason.PROTOCOL


async def test_why_dialling_failed_is_raised_as_it_is(tmp_path: Path) -> None:
    farm = Farm(tmp_path / "nothing.sock")
    with pytest.raises(NodeError) as caught:
        await farm.control.info()
    assert (caught.value.layer, caught.value.reason) == (Layer.BUILDKIT, Reason.BUILDKIT)
