"""Builds go where ``route`` says: real builds on real nodes, counted by the nodes themselves."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.realfarm.daemon import COMMAND, Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.shell import run, wait_for

BUILDS = 8
BUILDERS = {"new": "farm", "local": "local"}
"""By the node's name, the buildx builder that has that node alone."""
AMD64 = "/api/v1/route?platform=linux/amd64"
LOOKS = 10
"""Seconds between two looks whether a node is up."""


@pytest.fixture
def exporter(farm: Farm, daemon: Callable[..., Daemon]) -> Daemon:
    """Watches two nodes of one kind."""
    collect = {"reachability": f"{LOOKS}s", "workers": "2s", "timeout": "5s"}
    exporter = daemon(farm.config(*BUILDERS, collect=collect))
    known = {"buildfarm_builder_info": 2, "buildfarm_disk_size_bytes": 2}
    exporter.wait(
        "both nodes to be known",
        lambda scrape: all(
            len({dict(row)["node"] for row in scrape.all(name)}) == nodes
            for name, nodes in known.items()
        ),
    )
    return exporter


def built(farm: Farm) -> dict[str, set[str]]:
    """By the node's name, the builds in the history of its container builder."""
    found = {}
    for name in BUILDERS:
        node = farm[name]
        inside = ["docker", "exec", node.container_name, "buildctl", "debug", "histories"]
        _, *rows = node.run(inside).stdout.splitlines()
        found[name] = {row.split()[1] for row in rows}
    return found


def new_builds(farm: Farm, before: dict[str, set[str]]) -> dict[str, int]:
    return {name: len(refs - before[name]) for name, refs in built(farm).items()}


def build(farm: Farm, builder: str, mark: str, seconds: float = 8) -> None:
    """Build by the real ``docker buildx`` something that was never built before."""
    dockerfile = f"FROM busybox\nRUN echo {mark} && sleep {seconds:g}\n"
    argv = ["buildx", "build", f"--builder={builder}", "--platform=linux/amd64"]
    farm.client.docker(*argv, "--output=type=cacheonly", "-", stdin=dockerfile, timeout=180)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(BUILDS) as pool:
        return list(pool.map(work, range(BUILDS)))


@contextmanager
def one_builder_of_both(farm: Farm) -> Iterator[str]:
    """A buildx builder with both nodes, over the containers that are there."""
    name = "both"
    more: list[str] = []
    for node in (farm[name] for name in BUILDERS):
        argv = ["--driver=docker-container", f"--name={name}", f"--node={node.spec.container}"]
        farm.client.docker("buildx", "create", *more, *argv, node.endpoint)
        more = ["--append"]
    try:
        yield name
    finally:
        farm.client.docker("buildx", "rm", "--keep-daemon", name)


def test_builds_that_begin_at_once_spread_over_both_nodes(
    farm: Farm, exporter: Daemon, tmp_path: Path
) -> None:
    """Each build asks first. What was handed out counts until it is seen to run."""
    before = built(farm)

    def ask_and_build(number: int) -> str:
        node: str = exporter.json(AMD64)["node"]
        build(farm, BUILDERS[node], f"{tmp_path.name}-{number}")
        return node

    named = Counter(at_once(ask_and_build))
    assert Counter(new_builds(farm, before)) == named
    assert min(named["new"], named["local"]) >= 3


def test_builds_of_one_builder_all_go_to_its_first_node(farm: Farm, tmp_path: Path) -> None:
    """What happens without: buildx takes the first node that has the platform."""
    with one_builder_of_both(farm) as builder:
        before = built(farm)
        at_once(lambda number: build(farm, builder, f"{tmp_path.name}-{number}", seconds=1))
        assert new_builds(farm, before) == {"new": BUILDS, "local": 0}


def test_builds_that_others_began_count(farm: Farm, exporter: Daemon, tmp_path: Path) -> None:
    """A node on which somebody builds without asking is not the first choice."""

    def running() -> dict[str, Any]:
        return {row["node"]: row["running"] for row in exporter.json(AMD64)["candidates"]}

    wait_for("builds to be followed", lambda: None not in running().values(), timeout=30)
    with ThreadPoolExecutor(2) as pool:
        work = [
            pool.submit(build, farm, BUILDERS["new"], f"{tmp_path.name}-{number}", 15)
            for number in range(2)
        ]
        wait_for("both builds to be seen", lambda: running()["new"] == 2, timeout=30)
        said = route(farm, tmp_path, "--config", str(exporter.config))
        assert said.stdout.startswith("local  native on local0; no build running; ")
        assert "ahead of new, which has more to build" in " ".join(said.stdout.split())
        for one in work:
            one.result()
    wait_for("both builds to be over", lambda: running()["new"] == 0, timeout=30)


def test_a_node_that_is_down_gets_no_build(farm: Farm, exporter: Daemon) -> None:
    """Within two looks whether it is up; and it gets builds again when it is back."""

    def left_out() -> dict[str, str]:
        return {row["node"]: row["why"] for row in exporter.json(AMD64)["left_out"]}

    with farm["new"].network.silent():
        wait_for("the node to be left out", lambda: "new" in left_out(), timeout=2 * LOOKS)
        assert left_out()["new"].startswith("down: transport: timeout: ")
        assert {exporter.json(AMD64)["node"] for _ in range(BUILDS)} == {"local"}
    wait_for("the node to be back", lambda: not left_out(), timeout=60)
    assert exporter.json(AMD64)["node"] == "new"


def route(farm: Farm, folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the farm's user."""
    env = farm.client.env | {"XDG_STATE_HOME": str(folder), "COLUMNS": "80"}
    platform = [] if any("--platform" in word for word in argv) else ["--platform=linux/amd64"]
    return run([COMMAND, "route", *platform, *argv], env=env, cwd=folder, check=False, timeout=90)


def test_an_emulated_platform_is_told(farm: Farm, exporter: Daemon, tmp_path: Path) -> None:
    """By the API, by the command, and beside the name where only that is wanted."""
    arm64 = "/api/v1/route?platform=linux/arm64"
    with farm.emulated_arm64():
        wait_for("arm64 to be offered", lambda: exporter.get(arm64)[0] == 200, timeout=60)
        said = exporter.json(arm64)
        assert said["emulated"] is True
        assert "emulated (slow) on " in said["why"]
        asked = ["--platform=arm64", f"--url={exporter.url}"]
        quiet = route(farm, tmp_path, "-q", *asked)
        assert quiet.stdout.strip() in BUILDERS
        assert quiet.stderr.endswith("emulates linux/arm64; no node builds it natively now\n")
    asked = ["--platform=s390x", f"--config={exporter.config}"]
    none = route(farm, tmp_path, *asked)
    assert (none.returncode, none.stderr) == (1, "")
    assert none.stdout.startswith("No node can build linux/s390x now.\n")
