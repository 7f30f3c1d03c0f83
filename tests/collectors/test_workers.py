"""What builders say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.builders import BARE, EMBEDDED
from exporter.collectors import workers
from exporter.collectors.base import Partial
from exporter.collectors.workers import gc_keep
from exporter.errors import Layer, Reason, UnsupportedError
from exporter.model import BuilderPlatform, EngineInfo, NodeSpec, TcpEndpoint
from tests.collectors.fakes import (
    ENGINE_INFO,
    FARM0,
    FakeControl,
    FakeNode,
    broken,
    collected,
)

GIB = 1024**3
OLD = UnsupportedError(Layer.BUILDKIT, Reason.BUILDKIT, "unknown method Info")


def worker(
    *platforms: str, version: str = "v0.32.2", gc: Sequence[pb.GCPolicy] = ()
) -> FakeControl:
    """A builder with one worker."""
    names = [text.split("/") for text in platforms]
    row = pb.WorkerRecord(
        platforms=[
            pb.Platform(OS=name[0], Architecture=name[1], Variant=name[2] if name[2:] else "")
            for name in names
        ],
        GCPolicy=gc,
    )
    if version:
        row.BuildkitVersion.version = version
    return FakeControl(workers=[row])


@pytest.mark.parametrize(
    ("policies", "keep"),
    [
        ([], None),
        ([{"reservedSpace": 10}], 10),
        ([{"reservedSpace": 10, "maxUsedSpace": 60}], 60),
        ([{"reservedSpace": 10, "minFreeSpace": 5}], None),
        ([{"maxUsedSpace": 20}, {"maxUsedSpace": 60, "all": True}], 60),
        ([{"all": True}], None),
    ],
    ids=["no policy", "up to 0.16", "since 0.17", "only reserved", "the largest", "no limit"],
)
def test_the_largest_cap_of_the_garbage_collection(
    policies: list[dict[str, int]], keep: int | None
) -> None:
    assert gc_keep([pb.GCPolicy(**policy) for policy in policies]) == keep  # type: ignore[arg-type]


async def test_engine_and_builders() -> None:
    node = FakeNode(
        known=(EMBEDDED, FARM0),
        controls={
            "docker": worker("linux/amd64", version="v0.25.1"),
            "farm0": worker("linux/amd64", "linux/arm64", gc=[pb.GCPolicy(maxUsedSpace=GIB)]),
        },
    )
    found = await collected(workers.COLLECTOR, node)
    assert found.engine == ENGINE_INFO
    docker, farm0 = found.workers
    assert (docker.builder, docker.version, docker.gc_keep) == (EMBEDDED, "v0.25.1", None)
    assert (farm0.builder, farm0.version, farm0.gc_keep) == (FARM0, "v0.32.2", GIB)


@pytest.mark.parametrize(
    ("arch", "platform", "emulated"),
    [
        ("amd64", "linux/amd64/v3", False),
        ("amd64", "linux/386", False),
        ("amd64", "linux/arm64", True),
        ("arm64", "linux/arm/v7", False),
        ("arm64", "linux/amd64", True),
    ],
)
async def test_what_the_cpu_does_not_run_itself_is_emulated(
    arch: str, platform: str, emulated: bool
) -> None:
    info = EngineInfo("28", "1.51", "linux", arch, "/var/lib/docker")
    found = await collected(
        workers.COLLECTOR, FakeNode(info=info, controls={"docker": worker(platform)})
    )
    assert found.workers[0].platforms == (BuilderPlatform(platform, emulated),)


async def test_a_bare_buildkitd_s_first_platform_is_its_own() -> None:
    spec = NodeSpec("kitd", TcpEndpoint("kitd.example.com", 1234, None), remote=True)
    control = worker("linux/arm64", "linux/amd64")
    node = FakeNode(spec, engine=None, known=(BARE,), controls={"buildkitd": control})
    found = await collected(workers.COLLECTOR, node)
    assert found.engine is None
    assert [p.emulated for p in found.workers[0].platforms] == [False, True]


@pytest.mark.parametrize(("info", "version"), [("v0.11.7", "v0.11.7"), (OLD, "")])
async def test_a_version_that_the_worker_does_not_tell(info: object, version: str) -> None:
    control = worker("linux/amd64", version="")
    control.version = info
    found = await collected(workers.COLLECTOR, FakeNode(controls={"docker": control}))
    assert found.workers[0].version == version


async def test_a_failing_builder_is_known_from_before() -> None:
    node = FakeNode(
        known=(EMBEDDED, FARM0),
        controls={"docker": worker("linux/amd64"), "farm0": worker("linux/amd64")},
    )
    before = await collected(workers.COLLECTOR, node)
    node.controls["farm0"].workers = sick = broken(Layer.BUILDKIT, Reason.PROTOCOL)
    result = await collected(workers.COLLECTOR, node, previous=before)
    assert isinstance(result, Partial)
    assert result.value == before
    assert result.error is sick


async def test_the_list_of_builders_is_made_anew() -> None:
    node = FakeNode(known=(EMBEDDED,), found=(EMBEDDED, FARM0))
    found = await collected(workers.COLLECTOR, node)
    assert [w.builder.name for w in found.workers] == ["docker", "farm0"]
