"""One canary build on real builders of every kind: what it measures, and that nothing is left."""

from __future__ import annotations

import pytest

from exporter.actions.canary import CanaryProgress, CanaryResult
from exporter.canaries import CanaryOutcome, Step
from tests.realfarm.caches import BUILDERS
from tests.realfarm.canary_build import (
    KINDS,
    cache,
    canary,
    endless_canary,
    history,
    images,
    processes,
    remove,
    slow_cpu,
    stalling_disk,
)
from tests.realfarm.farm import Farm
from tests.realfarm.faults import Network
from tests.realfarm.node import Node
from tests.realfarm.pruning import MIB, build, empty
from tests.realfarm.shell import wait_for

GIB = 1024 * MIB
kinds = pytest.mark.parametrize(("name", "builder"), KINDS)
modern = pytest.mark.parametrize(("name", "builder"), [("new", "farm0"), ("kitd", "buildkitd")])
"""BuildKit 0.32."""


def _ok(result: CanaryResult) -> CanaryResult:
    assert (result.outcome, result.detail) == (CanaryOutcome.OK, None)
    return result


@pytest.mark.parametrize(("name", "builder"), BUILDERS)
def test_every_builder(farm: Farm, name: str, builder: str) -> None:
    """Each step has a time, and users' cache, images and history are what they were."""
    node = farm[name]
    build(node, builder, "RUN echo user >/x && sync\nRUN echo more >/y")
    before = cache(node, builder), images(node)
    told = None if name == "old" else history(farm, node, builder)
    steps = _ok(canary(farm, node, builder)).steps
    assert list(steps) == [Step.PULL, Step.CPU, Step.DISK, Step.EXPORT]
    assert all(0 < time.seconds < 60 for time in steps.values())
    assert [time.bytes for time in steps.values()] == [None, 32 * MIB, 16 * MIB, 8 * MIB]
    assert steps[Step.PULL].cached
    assert (cache(node, builder), images(node)) == before
    if told is not None:
        assert told
        assert history(farm, node, builder) == told
    assert not processes(node)


@modern
def test_an_empty_cache_is_empty_afterwards(farm: Farm, name: str, builder: str) -> None:
    """The base image is pulled, timed, and goes again."""
    node = farm[name]
    empty(node, builder)
    pull = _ok(canary(farm, node, builder)).steps[Step.PULL]
    assert not pull.cached
    assert cache(node, builder) == {}


def test_an_engine_that_lacks_the_image_pulls_it(farm: Farm) -> None:
    node = farm["new"]
    empty(node, "docker")
    node.run(["docker", "image", "rm", "--force", "busybox:stable", "busybox:latest"])
    try:
        before = images(node)
        assert not _ok(canary(farm, node, "docker")).steps[Step.PULL].cached
        assert (cache(node, "docker"), images(node)) == ({}, before)
    finally:
        for tag in ("stable", "latest"):
            node.run(["docker", "pull", "--quiet", f"busybox:{tag}"])


@modern
def test_what_users_build_meanwhile_stays(farm: Farm, name: str, builder: str) -> None:
    """The base image too, which the canary pulled and they made something from."""
    node = farm[name]
    empty(node, builder)
    built: list[str] = []

    def user_builds(progress: CanaryProgress) -> None:
        if progress.step is Step.DISK and not built:
            built.append(build(node, builder, "RUN echo user >/x\nRUN echo more >/y"))

    _ok(canary(farm, node, builder, on_progress=user_builds))
    assert "CACHED" in build(node, builder, "RUN echo user >/x\nRUN echo more >/y")
    assert "extracting" not in build(node, builder, "RUN echo other >/x")


@kinds
def test_only_the_named_records_are_removed(farm: Farm, name: str, builder: str) -> None:
    """What others were made from stays, named or not."""
    node = farm[name]
    empty(node, builder)
    build(node, builder, "RUN echo lower >/x\nRUN --mount=type=cache,target=/c echo >/c/upper")
    before = cache(node, builder)
    rows = [{k.lower(): v for k, v in row.items()} for row in node.truth.cache(builder)]
    (lower,) = (row["id"] for row in rows if "echo lower" in row["description"])
    (mount,) = (row["id"] for row in rows if "cached mount" in row["description"])
    assert remove(farm, node, builder, lower, "nosuchrecord") == set()
    assert cache(node, builder) == before
    assert remove(farm, node, builder, mount, lower) == {mount}
    assert cache(node, builder).keys() == before.keys() - {mount}


@kinds
def test_a_slow_cpu_shows_in_that_step(farm: Farm, name: str, builder: str) -> None:
    node = farm[name]
    fast = min(_ok(canary(farm, node, builder)).steps[Step.CPU].seconds for _ in range(2))
    with slow_cpu(node, 4):
        slow = _ok(canary(farm, node, builder)).steps[Step.CPU].seconds
    assert slow > 2 * fast


@kinds
def test_a_slow_disk_shows_in_that_step_only(farm: Farm, name: str, builder: str) -> None:
    node = farm[name]
    fast = _ok(canary(farm, node, builder)).steps
    with stalling_disk(node, 8) as stall:

        def stall_at_disk(progress: CanaryProgress) -> None:
            if progress.step is Step.DISK:
                stall()

        slow = _ok(canary(farm, node, builder, on_progress=stall_at_disk)).steps
    assert slow[Step.DISK].seconds > 2 * fast[Step.DISK].seconds
    assert slow[Step.DISK].seconds > 2 * slow[Step.CPU].seconds


@modern
def test_a_slow_network_shows_in_the_pull_only(farm: Farm, name: str, builder: str) -> None:
    node = farm[name]
    empty(node, builder)
    fast = _ok(canary(farm, node, builder)).steps
    with Network(farm.hub).slow("2mbit"):
        slow = _ok(canary(farm, node, builder)).steps
    assert slow[Step.PULL].seconds > 2 * fast[Step.PULL].seconds
    assert slow[Step.PULL].seconds > slow[Step.CPU].seconds


def test_an_emulated_platform_is_slower_than_the_native_one(farm: Farm) -> None:
    """One builder builds both, and nothing of either is left."""
    node = farm["kitd"]
    empty(node, "buildkitd")
    with farm.emulated_arm64():
        steps = {
            platform: _ok(canary(farm, node, "buildkitd", platform)).steps
            for platform in ("linux/amd64", "linux/arm64")
        }
    native, emulated = steps["linux/amd64"], steps["linux/arm64"]
    assert emulated[Step.CPU].seconds > 2 * native[Step.CPU].seconds
    assert cache(node, "buildkitd") == {}


@kinds
@pytest.mark.parametrize(("step", "cpu"), [(Step.CPU, 900 * GIB), (Step.DISK, MIB)])
def test_a_build_that_takes_too_long_is_cancelled_at_the_node(
    farm: Farm, name: str, builder: str, step: Step, cpu: int
) -> None:
    """No process of it goes on, and of the cache at most an empty layer of each command."""
    node = farm[name]
    build(node, builder, "RUN echo user >/x && sync")
    before = cache(node, builder)
    with stalling_disk(node, 8) as stall:

        def stall_at_disk(progress: CanaryProgress) -> None:
            if progress.step is Step.DISK:
                stall()

        result = canary(farm, node, builder, timeout=5, on_progress=stall_at_disk, cpu=cpu)
    assert result.outcome is CanaryOutcome.TIMEOUT
    assert (result.detail or "").startswith(f"not done in 5 s: cancelled in step {step}")
    assert not processes(node)
    left = cache(node, builder)
    assert before.items() <= left.items()
    if builder == "docker":
        assert left == before
        return
    assert "the next canary removes them" in (result.detail or "")
    assert sum(left.values()) - sum(before.values()) < 100 * 1024
    _restart(node)
    _ok(canary(farm, node, builder))
    assert cache(node, builder) == before


@kinds
def test_what_a_killed_exporter_left_is_removed_by_the_next_canary(
    farm: Farm, name: str, builder: str
) -> None:
    """BuildKit gives its build up by itself. The base image that it pulled goes as well.

    Only BuildKit 0.8 keeps a Dockerfile, a file without a name.
    """
    node = farm[name]
    empty(node, builder)
    with endless_canary(farm, node, builder) as exporter:
        wait_for("the CPU's step", lambda: "sha256sum" in processes(node))
        exporter.kill()
        wait_for("no process of it", lambda: not processes(node))
    assert cache(node, builder)
    if builder != "docker":
        _restart(node)
    _ok(canary(farm, node, builder))
    left = cache(node, builder)
    assert sum(left.values()) < 4096 if name == "old" else not left


def test_a_builder_that_goes_away_in_the_middle(farm: Farm) -> None:
    node = farm["new"]
    build(node, "farm0", "RUN echo user >/x && sync")
    before = cache(node, "farm0")

    def kill(progress: CanaryProgress) -> None:
        if progress.step is Step.CPU:
            node.run(["docker", "kill", node.container_name])

    result = canary(farm, node, "farm0", on_progress=kill, cpu=900 * GIB)
    node.run(["docker", "start", node.container_name])
    assert result.outcome is CanaryOutcome.FAILED
    assert "what it left could not be removed" in (result.detail or "")
    _ok(canary(farm, node, "farm0"))
    assert cache(node, "farm0") == before


@kinds
def test_why_a_build_fails_is_told_in_a_line(farm: Farm, name: str, builder: str) -> None:
    """And nothing of it is left, on a disk that was full as well."""
    node = farm[name]
    build(node, builder, "RUN echo user >/x && sync")
    before = cache(node, builder)
    full = canary(farm, node, builder, disk=20 * GIB)
    assert full.outcome is CanaryOutcome.FAILED
    assert full.detail == ("disk: exit code: 1: dd: error writing 'file': No space left on device")
    assert list(full.steps) == [Step.PULL, Step.CPU]
    missing = canary(farm, node, builder, base_image=f"{farm.registry_address}/nothing:1")
    assert missing.outcome is CanaryOutcome.FAILED
    assert (missing.detail or "").startswith("pull: ")
    assert "nothing:1" in (missing.detail or "") or "http" in (missing.detail or "")
    assert cache(node, builder) == before


def _restart(node: Node) -> None:
    """Restart the BuildKit that is not an Engine's."""
    if node.spec.engine == "buildkitd":
        node.engine.restart()
    else:
        node.run(["docker", "restart", node.container_name])
        wait_for(
            "the builder",
            lambda: (
                node.run(
                    ["docker", "exec", node.container_name, "buildctl", "debug", "workers"],
                    check=False,
                ).returncode
                == 0
            ),
        )
