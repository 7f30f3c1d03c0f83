"""Canary builds over several nodes: by the real docker and buildx, to a real registry."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.canaries import CanaryOutcome
from exporter.dockercli import DockerCli
from tests.realfarm.farm import Farm
from tests.realfarm.multiarch import (
    AMD64,
    ARM64,
    BOTH,
    Whole,
    builds,
    emulating,
    index,
    made,
    sources,
)
from tests.realfarm.node import Node
from tests.realfarm.shell import wait_for

Make = Callable[..., Whole]


@pytest.fixture
def make(farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a builder: ``make(new=BOTH, local="")``. No copy of it is left afterwards."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield lambda **platforms: made(farm, tmp_path / "buildx", platforms)
    assert list(scratch.iterdir()) == []


def test_built_again_on_another_node(farm: Farm, make: Make) -> None:
    """Both platforms are in the index; the second build has every step from the shared cache."""
    whole = make(new="", local=BOTH)
    store = whole.store
    with emulating(farm, "new", "local"):
        record = whole.canary()
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert record.detail is None
    assert record.first is not None
    assert record.second is not None
    assert record.first.nodes == dict.fromkeys((AMD64, ARM64), "local0")
    assert record.second.nodes == dict.fromkeys((AMD64, ARM64), "farm0")
    assert record.across_nodes is True
    assert (record.first.steps, record.first.cached) == (6, 0)
    assert (record.second.steps, record.second.cached) == (6, 6)
    assert set(record.pushed) == set(index(farm)) == {AMD64, ARM64}
    # By the nodes' own account: each built once, and the other one had all from elsewhere.
    (mine,), (other,) = (builds(farm[name], record.id) for name in ("local", "new"))
    assert mine["FrontendAttrs"]["platform"] == other["FrontendAttrs"]["platform"] == BOTH
    assert mine.get("numCachedSteps", 0) <= 2  # base images
    assert other["numCachedSteps"] >= 6
    assert whole.store == store


def test_each_platform_on_its_node(farm: Farm, make: Make) -> None:
    """Nodes are told as they have it themselves; of two caches at one place one is lost."""
    whole = make(new=AMD64, local=ARM64)
    with emulating(farm, "new", "local"):
        record = whole.canary()
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert record.first is not None
    assert record.second is not None
    assert record.first.nodes == {AMD64: "farm0", ARM64: "local0"}
    assert record.second.nodes == {AMD64: "local0", ARM64: "farm0"}
    assert record.across_nodes is True
    assert set(record.pushed) == set(index(farm)) == {AMD64, ARM64}
    for name in ("new", "local"):
        assert len(builds(farm[name], record.id)) == 2
    assert (record.second.steps, record.second.cached) == (6, 3)
    assert "came from the shared cache: nodes that build together write" in str(record.detail)


def test_one_node(farm: Farm, make: Make) -> None:
    """Its own cache would prove nothing of the shared one, so that is not tried."""
    record = make(new=AMD64).canary()
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert record.first is not None
    assert record.first.nodes == {AMD64: "farm0"}
    assert (record.second, record.across_nodes) == (None, False)
    assert record.detail == "no platform has a second node, so the shared cache was not tried"
    assert len(builds(farm["new"], record.id)) == 1


def test_own_platforms(make: Make) -> None:
    """Nodes that were made for nothing in particular build their own; one needs no index."""
    record = make(new="", local="").canary()
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert record.pushed == (AMD64,)
    assert record.first is not None
    assert record.second is not None
    assert (record.first.nodes, record.second.nodes) == ({AMD64: "farm0"}, {AMD64: "local0"})
    assert (record.second.steps, record.second.cached) == (3, 3)


def test_leaves_little(farm: Farm, make: Make) -> None:
    """Each canary adds little to a node's cache: its steps' files."""
    whole = make(new=AMD64)
    node = farm["new"]

    def size() -> int:
        return sum(int(record["size"]) for record in node.truth.cache("farm0"))

    assert whole.canary().outcome is CanaryOutcome.OK
    before, sent = size(), sources(node)
    assert whole.canary().outcome is CanaryOutcome.OK
    assert sources(node) == sent
    assert 0 < size() - before < 100_000


def test_registry_down(farm: Farm, make: Make) -> None:
    """What it waited for is said: BuildKit itself gives up after 100 s only."""
    whole = make(new=AMD64)
    with farm.registry.stopped():
        record = whole.canary(timeout=10.0)
    assert record.outcome is CanaryOutcome.TIMEOUT
    assert record.detail == (
        "docker buildx build: not done within 10 s, at: [internal] load metadata for "
        "docker.io/library/busybox:stable"
    )
    assert record.first is None


@contextmanager
def _down(node: Node) -> Iterator[None]:
    with node.engine.stopped():
        yield
    node.boot_builder()


@pytest.mark.parametrize(
    "platforms",
    [{"new": AMD64, "local": ARM64}, {"new": "", "local": ""}],
    ids=["its platform is needed", "buildx looks at all"],
)
def test_node_down(farm: Farm, make: Make, platforms: dict[str, str]) -> None:
    """A node is named, without which buildx builds nothing."""
    whole = make(**platforms)
    with _down(farm["local"]):
        record = whole.canary()
    assert record.outcome is CanaryOutcome.FAILED
    assert str(record.detail).startswith("node local0 does not answer: ")
    assert record.first is None


def test_node_down_that_is_not_needed(farm: Farm, make: Make) -> None:
    """It is built as ever, and the node is named."""
    whole = make(local="", new=AMD64)
    with _down(farm["local"]):
        record = whole.canary()
    assert record.outcome is CanaryOutcome.OK
    assert str(record.detail).startswith("node local0 does not answer: ")
    assert record.first is not None
    assert record.first.nodes == {AMD64: "farm0"}
    assert (record.second, record.across_nodes) == (None, False)


@contextmanager
def _without(tool: str, whole: Whole) -> Iterator[DockerCli]:
    home = whole.client.home
    file = {"docker": home / "bin/docker", "buildx": home / ".docker/cli-plugins/docker-buildx"}
    away = file[tool].with_name("away")
    file[tool].rename(away)
    if tool == "buildx":
        # This machine may have one, too; docker looks no further than for the first.
        file[tool].symlink_to("/bin/false")
    try:
        yield DockerCli(whole.env | {"PATH": f"{home}/bin"})
    finally:
        away.replace(file[tool])


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ("docker", "the docker command line is not installed here"),
        ("buildx", "docker's plugin buildx is not installed here"),
    ],
)
def test_a_tool_is_missing(make: Make, tool: str, said: str) -> None:
    """The canary says so, and what to do."""
    whole = make(new=AMD64)
    with _without(tool, whole) as docker:
        record = whole.canary(docker)
    assert record.outcome is CanaryOutcome.FAILED
    assert said in str(record.detail)


def test_unknown_builder(make: Make) -> None:
    """The canary says where it looked, and what to do."""
    whole = make(new=AMD64)
    record = whole.canary(builder="other")
    assert record.outcome is CanaryOutcome.FAILED
    folder = Path(whole.env["BUILDX_CONFIG"]) / "instances"
    assert str(record.detail).startswith(f"there is no buildx builder 'other' in {folder}: ")


def _endless(farm: Farm) -> str:
    """A base image whose shell never ends."""
    image = f"{farm.registry_address}/endless:1"
    dockerfile = 'FROM busybox\nSHELL ["/bin/sh", "-c", "sleep 7777"]\n'
    farm["new"].build("farm0", dockerfile, options=["--push", f"--tag={image}"])
    return image


def _sleeps(node: Node) -> bool:
    return "sleep 7777" in node.run(["ps", "ax"]).stdout


def test_timeout_ends_the_build_on_the_node(farm: Farm, make: Make) -> None:
    """Not only the command line is ended."""
    record = make(new=AMD64).canary(base_image=_endless(farm), timeout=8.0)
    assert record.outcome is CanaryOutcome.TIMEOUT
    assert str(record.detail).startswith("docker buildx build: not done within 8 s, at: [2/4] RUN ")
    assert len(builds(farm["new"], record.id)) == 1
    wait_for("the build to end", lambda: not _sleeps(farm["new"]), timeout=30)


def test_cancelled_ends_the_build_on_the_node(farm: Farm, make: Make) -> None:
    """So does Ctrl-C."""
    whole, image = make(new=AMD64), _endless(farm)

    async def cancelled() -> None:
        task = asyncio.create_task(whole.running(base_image=image), name="canary")
        await asyncio.to_thread(
            wait_for, "the build to start", lambda: _sleeps(farm["new"]), timeout=60
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    wait_for("the build to end", lambda: not _sleeps(farm["new"]), timeout=30)
