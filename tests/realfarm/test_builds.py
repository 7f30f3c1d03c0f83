"""Users' real builds: each counted once, whatever happens to connections and daemons."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import pytest

from tests.realfarm import breaking
from tests.realfarm.breaking import Fault
from tests.realfarm.daemon import COMMAND, Daemon, running
from tests.realfarm.farm import Farm
from tests.realfarm.histories import (
    NODES,
    Counted,
    Interrupted,
    at_once,
    build_inside,
    buildx,
    counted,
    history,
    make_context,
    wait_ended,
    wait_running,
)
from tests.realfarm.shell import FarmError, run
from tests.realfarm.watching import failure, wait_all_fresh

COLLECT = {
    **dict.fromkeys(("reachability", "disk", "cache"), "1s"),
    **dict.fromkeys(("workers", "orphans"), "2s"),
    "timeout": "3s",
}
BUILDERS = ["farm0", "docker", "buildkitd"]


@pytest.fixture(scope="module", autouse=True)
def context(farm: Farm) -> None:
    make_context(farm)


@pytest.fixture
def started(farm: Farm, daemon: Callable[..., Daemon]) -> Callable[[str], Daemon]:
    """Start the exporter over the node of a builder, and wait until all is known."""

    def start(builder: str) -> Daemon:
        name = NODES[builder]
        exporter = daemon(farm.config(name, collect=COLLECT))
        wait_all_fresh(exporter, [name])
        wait_ended(exporter, builder, 0)
        return exporter

    return start


def fresh(*more: str) -> list[str]:
    """Steps that are in no cache."""
    return [f": {uuid4()}", *more]


def agree(told: Counted, history: Counted) -> None:
    """The exporter and ``docker buildx history ls`` say the same."""
    assert told == history
    assert told.seconds == pytest.approx(history.seconds, abs=0.001)


@pytest.mark.parametrize("builder", BUILDERS)
def test_counted_as_buildx_tells(
    farm: Farm, started: Callable[[str], Daemon], builder: str
) -> None:
    """Good, failing, cached, parallel and cancelled builds; ``docker buildx history ls`` agrees."""
    exporter, before = started(builder), history(farm, builder)
    good = fresh("sleep 1")
    codes = [buildx(farm, builder, steps) for steps in (good, fresh(), good, fresh("exit 3"))]
    assert [code == 0 for code in codes] == [True, True, True, False]
    assert at_once(farm, builder, [fresh("sleep 2") for _ in range(3)]) == [0] * 3
    wait_ended(exporter, builder, 7)
    slow = Interrupted(farm, builder, fresh("sleep 60"))
    wait_running(exporter, builder, 1)
    assert slow.interrupt() != 0
    assert buildx(farm, builder, good, "--no-cache") == 0
    told = wait_ended(exporter, builder, 9)
    assert told.failed == 2
    # The cached build's three; the others have at most the base image.
    assert 3 <= told.cached < told.steps / 2
    agree(told, history(farm, builder) - before)


def test_all_that_run_at_once_are_seen(farm: Farm, started: Callable[[str], Daemon]) -> None:
    exporter = started("farm0")
    builds = [Interrupted(farm, "farm0", fresh("sleep 6")) for _ in range(4)]
    wait_running(exporter, "farm0", 4)
    assert [build.wait() for build in builds] == [0] * 4
    assert wait_ended(exporter, "farm0", 4).failed == 0


@pytest.mark.parametrize(
    ("builder", "fault"),
    [
        ("farm0", lambda farm, node: node.network.silent()),
        ("docker", lambda farm, node: node.network.silent()),
        ("buildkitd", lambda farm, node: node.network.silent()),
        ("farm0", lambda farm, node: node.network.closed(22)),
        ("docker", breaking.sshd_stopped),
        ("buildkitd", lambda farm, node: node.network.unplugged()),
    ],
    ids=["farm0-silent", "docker-silent", "buildkitd-silent", "closed", "sshd", "unplugged"],
)
def test_a_broken_connection_changes_nothing(
    farm: Farm, started: Callable[[str], Daemon], builder: str, fault: Fault
) -> None:
    """Builds end before, while and after the node can't be reached."""
    exporter, before, node = started(builder), history(farm, builder), farm[NODES[builder]]
    assert build_inside(node, builder) == 0
    wait_ended(exporter, builder, 1)
    with fault(farm, node):
        exporter.wait("the outage", lambda scrape: failure(scrape, node.name))
        assert build_inside(node, builder) == 0
        assert build_inside(node, builder, fails=True) != 0
        assert counted(exporter.scrape(), builder).ended == 1
    assert wait_ended(exporter, builder, 3).failed == 1
    assert build_inside(node, builder) == 0
    told = wait_ended(exporter, builder, 4)
    agree(told, history(farm, builder) - before)


def test_a_connection_that_is_lost_for_a_moment(
    farm: Farm, started: Callable[[str], Daemon]
) -> None:
    """``sshd`` is restarted again and again, and every session ended, while builds run."""
    exporter, node = started("docker"), farm["new"]
    for number in range(1, 4):
        node.sshd.restart()
        breaking.end_sessions(node)
        assert build_inside(node, "docker") == 0
        wait_ended(exporter, "docker", number)
        connects = exporter.scrape().value("buildfarm_node_connects_total", node="new")
        assert connects == number + 1


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_daemon_that_restarts(farm: Farm, started: Callable[[str], Daemon], builder: str) -> None:
    """What it had counted stays; what it was at when it died runs no more, and never ended."""
    exporter, node = started(builder), farm[NODES[builder]]
    assert buildx(farm, builder, fresh()) == 0
    lost = Interrupted(farm, builder, fresh("sleep 60"))
    wait_running(exporter, builder, 1)
    if builder == "farm0":
        node.run(["docker", "restart", "--time=1", node.container_name])
    else:
        node.engine.kill()
        node.engine.start()
    assert lost.interrupt() != 0
    told = wait_ended(exporter, builder, 1)
    assert told.failed == 0
    if builder == "docker":
        node.boot_builder()
    assert buildx(farm, builder, fresh()) == 0
    wait_ended(exporter, builder, 2)
    wait_all_fresh(exporter, [node.name])


def test_a_builder_made_anew_goes_on_counting(farm: Farm, started: Callable[[str], Daemon]) -> None:
    """Its container is another one; its history is in the volume, or gone with it."""
    exporter, node = started("farm0"), farm["new"]
    assert buildx(farm, "farm0", fresh()) == 0
    wait_ended(exporter, "farm0", 1)
    with node.builder_removed():
        exporter.wait("the loss", lambda scrape: failure(scrape, "new"))
    assert buildx(farm, "farm0", fresh()) == 0
    wait_ended(exporter, "farm0", 2)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_an_exporter_that_restarts(farm: Farm, tmp_path: Path, killed: bool) -> None:
    """Builds from before its first start are not counted; those while it is away are, once."""
    env = farm.client.env | {"XDG_STATE_HOME": str(tmp_path)}
    config = farm.config("new", "kitd", collect=COLLECT)
    ended = pytest.raises(FarmError, match="ended with -9") if killed else nullcontext()
    for builder in BUILDERS:
        assert buildx(farm, builder, fresh()) == 0
    for total in (0, 3, 6):
        with ended, running(config, tmp_path, env) as exporter:
            for builder in BUILDERS:
                wait_ended(exporter, builder, total)
                assert buildx(farm, builder, fresh("exit 3")) != 0
                assert wait_ended(exporter, builder, total + 1).failed == total // 3 + 1
            if killed:
                exporter.process.kill()
                exporter.process.wait(30)
        for builder in BUILDERS:
            assert [buildx(farm, builder, fresh()) for _ in range(2)] == [0, 0]


def test_killed_at_any_moment(farm: Farm, tmp_path: Path) -> None:
    """A build that was counted but not written down yet counts once as well."""
    env = farm.client.env | {"XDG_STATE_HOME": str(tmp_path)}
    config = farm.config("kitd", collect=COLLECT)
    with running(config, tmp_path, env) as exporter:
        wait_ended(exporter, "buildkitd", 0)
    for number in range(5):
        with pytest.raises(FarmError, match="ended with -9"), running(config, tmp_path, env) as up:
            _count_one_and_die(farm, up, number)
    with running(config, tmp_path, env) as exporter:
        wait_ended(exporter, "buildkitd", 5)


def _count_one_and_die(farm: Farm, exporter: Daemon, number: int) -> None:
    wait_ended(exporter, "buildkitd", number)
    assert buildx(farm, "buildkitd", fresh()) == 0
    time.sleep(number * 0.4)
    exporter.process.kill()
    exporter.process.wait(30)


def test_two_exporters_on_one_store(farm: Farm, tmp_path: Path) -> None:
    """Both count the same builds; a third start knows each once."""
    env = farm.client.env | {"XDG_STATE_HOME": str(tmp_path / "state")}
    config = farm.config("kitd", collect=COLLECT)
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    with running(config, folders[0], env) as first, running(config, folders[1], env) as second:
        for exporter in (first, second):
            wait_ended(exporter, "buildkitd", 0)
        assert at_once(farm, "buildkitd", [fresh() for _ in range(4)]) == [0] * 4
        for exporter in (first, second):
            wait_ended(exporter, "buildkitd", 4)
    with running(config, folders[2], env) as third:
        wait_ended(third, "buildkitd", 4)


def test_an_engine_without_history(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """Engine 20.10: no series rather than zeros, no failure, and a word of it in ``status``."""
    exporter = daemon(farm.config("old", collect=COLLECT))
    assert build_inside(farm["old"], "docker") == 0
    scrape = wait_all_fresh(exporter, ["old"])
    assert scrape.value("buildfarm_collector_success", collector="builds") == 1
    named = [
        name
        for name, _ in scrape.values
        if name.startswith(("buildfarm_build_", "buildfarm_builds_"))
    ]
    assert named == []
    argv = [str(COMMAND), "status", f"--config={exporter.config}"]
    said = run(argv, env=farm.client.env).stdout
    assert "old/docker  builds: this version of BuildKit does not tell" in said


def test_promtool_finds_nothing(farm: Farm, started: Callable[[str], Daemon]) -> None:
    exporter = started("buildkitd")
    assert buildx(farm, "buildkitd", fresh()) == 0
    wait_ended(exporter, "buildkitd", 1)
    page = exporter.get("/metrics")[1]
    done = run(["promtool", "check", "metrics"], stdin=page, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
