"""Builds by Solve, asked for by a gRPC client that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.llb import text_file
from exporter.demo import jobs
from exporter.demo.blueprints import MIB
from tests.demo.test_control import Peer, kitd

SIMPLE = "FROM busybox\nRUN head -c 8M /dev/zero > /x\nRUN cat /x | sha256sum\n"
SOME = text_file("Dockerfile", SIMPLE, "load it")
FOREVER = "FROM busybox\nRUN head -c 1M /dev/zero > /x && sleep 3600\n"


def inputs(dockerfile: str) -> dict[str, pb.Definition]:
    work = text_file("Dockerfile", dockerfile, "load it")
    return {"dockerfile": work, "context": work}


class Client(Peer):
    """A client that builds."""

    async def solve(self, dockerfile: str, **more: Any) -> None:
        request: dict[str, Any] = {"Ref": "r1", "Frontend": "dockerfile.v0", **more}
        request.setdefault("FrontendInputs", inputs(dockerfile))
        request["FrontendAttrs"] = {"no-cache": "", **request.get("FrontendAttrs", {})}
        await self.call("Solve", pb.SolveRequest(**request), pb.SolveResponse)

    async def status(self, ref: str = "r1") -> dict[str, pb.Vertex]:
        """Follow a build to its end: its steps as they were told last, by name."""
        told = await self.stream("Status", pb.StatusRequest(Ref=ref), pb.StatusResponse)
        return {vertex.name: vertex for status in told for vertex in status.vertexes}

    async def watched(self, dockerfile: str, **more: Any) -> dict[str, pb.Vertex]:
        """Build; the steps."""
        watch = asyncio.create_task(self.status())
        await self.solve(dockerfile, **more)
        return await watch

    async def until_it_sleeps(self) -> None:
        """Wait for the step of FOREVER to have written its file."""
        async with asyncio.timeout(10):
            while not any(r.size == MIB for r in self.builder.cache.records.values()):
                await asyncio.sleep(0.001)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with kitd() as node:
        client = Client(node)
        yield client
        client.channel.close()


async def test_the_steps_are_told_with_their_times(client: Client) -> None:
    steps = await client.watched(SIMPLE, Exporter="image")
    assert list(steps) == [
        "load it",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[1/3] FROM docker.io/library/busybox:latest",
        "[2/3] RUN head -c 8M /dev/zero > /x",
        "[3/3] RUN cat /x | sha256sum",
        "exporting to image",
    ]
    times = [
        (vertex.started.ToNanoseconds(), vertex.completed.ToNanoseconds())
        for vertex in steps.values()
    ]
    assert times == sorted(times)
    assert not any(vertex.error or vertex.cached for vertex in steps.values())


async def test_stages_are_built_as_they_are_needed(client: Client) -> None:
    steps = await client.watched(
        "FROM busybox AS a\nRUN head -c 5 /dev/zero > /x\nFROM busybox AS unneeded\n"
        "FROM scratch\nCOPY --from=a /x /y\n"
    )
    assert list(steps)[-3:] == [
        "[a 1/2] FROM docker.io/library/busybox:latest",
        "[a 2/2] RUN head -c 5 /dev/zero > /x",
        "[stage-2 1/1] COPY --from=a /x /y",
    ]


async def test_a_build_that_nobody_asked_for_has_no_status(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PATIENCE", 0.01)
    with pytest.raises(GRPCError, match="no such job r1") as caught:
        await client.status()
    assert caught.value.status is Status.NOT_FOUND


async def test_two_builds_of_one_reference_are_refused(client: Client) -> None:
    first = asyncio.create_task(client.solve(FOREVER))
    await client.until_it_sleeps()
    with pytest.raises(GRPCError, match="job ID r1 exists"):
        await client.solve(SIMPLE)
    first.cancel()


@pytest.mark.parametrize(
    ("dockerfile", "more", "message"),
    [
        ("FROM busybox\nRUN exit 7", {}, 'process "/bin/sh -c exit 7" did not .*: exit code: 7'),
        ("FROM registry.example.com/x", {}, "lookup registry.example.com: no such host"),
        (SIMPLE, {"FrontendAttrs": {"platform": "plan9/amd64"}}, "no match for platform"),
        (SIMPLE, {"FrontendAttrs": {"platform": "linux/s390x"}}, "exit code: 255"),
        (SIMPLE, {"Exporter": "moby"}, 'exporter "moby" could not be found'),
        (SIMPLE, {"Frontend": "gateway.v0"}, "invalid frontend: gateway.v0"),
        (SIMPLE, {"FrontendInputs": {"dockerfile": SOME}}, "no active sessions"),
        (SIMPLE, {"FrontendInputs": {"context": SOME}}, "no active sessions"),
        (SIMPLE, {"FrontendAttrs": {"filename": "x"}}, "open x: no such file"),
        ("RUN true", {}, "on line 1: no build stage in current context"),
        ("FROM busybox\n\nADD x y", {}, "on line 3: a simulated builder can't do this: ADD x y"),
        ("FROM busybox AS a\nFROM scratch\nCOPY --from=a /x /y", {}, '"/x": not found'),
        ("# nothing", {}, "file with no instructions"),
    ],
)
async def test_what_can_not_be_built(
    client: Client, dockerfile: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(GRPCError, match=message) as caught:
        await client.solve(dockerfile, **more)
    assert caught.value.status is Status.UNKNOWN
    assert client.builder.cache.in_use() == set()


async def test_inputs_that_make_no_sense_are_refused(client: Client) -> None:
    with pytest.raises(GRPCError, match="invalid empty definition"):
        await client.solve("", FrontendInputs={"dockerfile": pb.Definition()})


async def test_a_cache_mount_outlives_what_is_written_to_it(client: Client) -> None:
    """It is no layer, and the same one is mounted for the same ID again."""
    write = "RUN --mount=type=cache,id=c,target=/c : {}; head -c 3M /dev/zero >>/c/x"
    for mark in "ab":
        await client.solve(f"FROM busybox\n{write.format(mark)}\n")
    sizes = {r.description: r.size for r in client.builder.cache.records.values()}
    process = "exec /bin/sh -c : {}; head -c 3M /dev/zero >>/c/x"
    assert sizes[f"cached mount /c from {process.format('a')}"] == 6 * MIB
    assert sizes[f"mount / from {process.format('b')}"] == 0
    assert [r.mutable for r in client.builder.cache.records.values()].count(True) == 1


async def test_who_gives_the_call_up_gives_the_build_up(client: Client) -> None:
    free = client.node.machine.disk.available
    watch = asyncio.create_task(client.status())
    build = asyncio.create_task(client.solve(FOREVER))
    await client.until_it_sleeps()
    assert client.node.machine.disk.available <= free - MIB
    build.cancel()
    steps = await watch
    assert [v.error for v in steps.values()] == ["", "", "", "context canceled"]
    assert client.builder.jobs.running == {}
    assert client.builder.cache.in_use() == set()
    # What was finished stays.
    assert sorted(r.description[:6] for r in client.builder.cache.records.values()) == [
        "load i",
        "pulled",
    ]


async def test_users_builds_do_not_build_on_it(client: Client) -> None:
    """So that it can be removed when it has ended, as in a cache where it is one of thousands."""
    build = asyncio.create_task(client.solve(FOREVER))
    await client.until_it_sleeps()
    client.builder.cache.add(size=MIB, now=1.0)
    ref = client.builder.start_build()
    assert [record.created for record in client.builder.builds[ref].held] == [1.0]
    build.cancel()


async def test_a_daemon_that_dies_takes_its_builds_along(client: Client) -> None:
    build = asyncio.create_task(client.solve(FOREVER))
    await client.until_it_sleeps()
    client.builder.crash()
    with pytest.raises(GRPCError) as caught:
        await build
    assert caught.value.status is Status.UNAVAILABLE
    assert client.builder.cache.in_use() == set()


async def test_what_a_build_leaves_stays_until_it_is_pruned(client: Client) -> None:
    await client.solve(SIMPLE)
    records = list(client.builder.cache.records.values())
    assert [record.size for record in records[2:]] == [8 * MIB, 0]
    assert [record.parents for record in records[2:]] == [(records[1].id,), (records[2].id,)]
    filters = [f"id=={record.id}" for record in records[1:]]
    gone = await client.prune(filter=filters, all=True)
    assert {record.ID for record in gone} == {record.id for record in records[1:]}
    assert list(client.builder.cache.records.values()) == records[:1]


@pytest.mark.parametrize(("version", "many"), [("", False), ("v0.11.7", True)])
async def test_old_daemons_tell_of_one_parent_in_a_field_of_its_own(
    version: str, many: bool
) -> None:
    async with kitd(version=version) as node:
        client = Client(node)
        await client.solve(SIMPLE)
        usage = await client.call("DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse)
        client.channel.close()
    base, first, _ = (record.ID for record in usage.record[1:])
    assert [list(record.Parents) for record in usage.record[2:]] == (
        [[base], [first]] if many else [[], []]
    )
    assert [record.Parent for record in usage.record[2:]] == (["", ""] if many else [base, first])


@pytest.mark.parametrize(
    ("dockerfile", "attributes", "cached"),
    [(SIMPLE, {"no-cache": ""}, 2), (SIMPLE, {}, 4), (SIMPLE.replace("8M", "9M"), {}, 1)],
)
async def test_steps_come_from_the_cache_if_they_may(
    client: Client, dockerfile: str, attributes: dict[str, str], cached: int
) -> None:
    """What is no command does anyhow."""
    await client.solve(SIMPLE)
    watch = asyncio.create_task(client.status("r2"))
    request = pb.SolveRequest(
        Ref="r2",
        Frontend="dockerfile.v0",
        FrontendAttrs=attributes,
        FrontendInputs=inputs(dockerfile),
    )
    await client.call("Solve", request, pb.SolveResponse)
    assert sum(vertex.cached for vertex in (await watch).values()) == cached


async def test_only_an_internal_build_is_not_in_the_history(client: Client) -> None:
    history = client.builder.history
    await client.solve(SIMPLE, Internal=True)
    assert not history.past
    with pytest.raises(GRPCError):
        await client.solve("FROM busybox\nRUN false\n")
    record = history.past["r1"]
    assert (record.numTotalSteps, record.numCachedSteps) == (4, 1)
    assert "exit code: 1" in record.error.message


async def test_a_disk_that_is_full_fails_the_step(client: Client) -> None:
    machine = client.node.machine
    machine.orphans["other"] = machine.disk.available - 9 * MIB
    told = asyncio.create_task(
        client.stream("Status", pb.StatusRequest(Ref="r1"), pb.StatusResponse)
    )
    with pytest.raises(GRPCError, match="exit code: 1"):
        await client.solve(SIMPLE)
    said = [line.msg for status in await told for line in status.logs]
    assert said == [b"error writing '/x': No space left on device\n"]
