"""Canaries of the daemon, on real nodes: all kinds of builders, when not, and after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.realfarm.canaries import (
    ENDLESS,
    SELECTED,
    computing,
    config,
    offers,
    remember,
    since,
    sleeping,
    together,
)
from tests.realfarm.daemon import Daemon, running
from tests.realfarm.farm import Farm
from tests.realfarm.pruning import build
from tests.realfarm.shell import FarmError, wait_for

BUILT = "buildfarm_canary_runs_total"
SKIPPED = "buildfarm_canary_skipped_total"
SUCCESS = "buildfarm_canary_success"


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


def test_every_kind_of_builder(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """Each expected platform is timed, an emulated and a missing one told apart; never more at a
    time than allowed, never two on a node; metrics, API and log say the same."""
    canary = {"every": "5s", "max_parallel": 2}
    with farm.emulated_arm64():
        wait_for("BuildKit to see it", lambda: offers(farm["new"], "linux/arm64"), timeout=60)
        wanted = config(farm, canary=canary)
        (new,) = (node for node in wanted["nodes"] if node["name"] == "new")
        new["platforms"] = ["linux/amd64", "linux/arm64", "linux/riscv64"]
        exporter = daemon(wanted)
        exporter.wait(
            "two canaries everywhere",
            lambda s: len(found := s.all(BUILT)) == 7 and min(found.values()) >= 2,
            timeout=180,
        )
    page = exporter.scrape()
    for name, builder in SELECTED.items():
        native = {"node": name, "builder": builder, "platform": "linux/amd64", "emulated": "false"}
        assert page.value(SUCCESS, **native) == 1, exporter.said()
        for step in ("cpu", "disk", "export"):
            seconds = page.value("buildfarm_canary_step_duration_seconds", step=step, **native)
            assert 0 < seconds < page.value("buildfarm_canary_duration_seconds", **native)
        speed = page.value("buildfarm_canary_throughput_bytes_per_second", step="cpu", **native)
        assert speed > 0
    emulated = {"node": "new", "platform": "linux/arm64", "emulated": "true"}
    assert page.value(SUCCESS, **emulated) == 1
    missing = {"node": "new", "platform": "linux/riscv64", "emulated": "false"}
    assert page.value(SUCCESS, **missing) == 0
    assert page.get("buildfarm_canary_duration_seconds", **missing) is None
    assert not page.all(SUCCESS, platform="linux/arm64", emulated="false")

    canaries = since(exporter, 0)
    assert {c["outcome"] for c in canaries} == {"ok", "missing"}
    assert {c["platform"] for c in canaries if c["outcome"] == "missing"} == {"linux/riscv64"}
    at_once = together([c for c in canaries if c["outcome"] == "ok"])
    assert max(map(len, at_once)) == 2
    assert all(len(set(nodes)) == len(nodes) for nodes in at_once)
    built = sum(page.all(BUILT).values())
    logged = [json.loads(line) for line in exporter.log.read_text().splitlines()]
    told = [e for e in logged if e["event"] in ("canary built", "canary failed")]
    assert built <= len(told) <= len(since(exporter, 0)) <= built + 3  # it goes on meanwhile


def test_a_busy_node_is_left_out(farm: Farm, daemon: Callable[..., Daemon], history: Path) -> None:
    """While users' builds run, on whatever builder of the node; afterwards it is timed again."""
    remember(history, "new", 7200)
    start = time.time()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(build, farm["new"], "docker", f"RUN sleep 15 # {start}")
        wait_for("the build", lambda: sleeping(farm["new"]), timeout=30)
        exporter = daemon(config(farm, "new", canary={"every": "5s"}, history=history))
        exporter.wait("a skipped canary", lambda s: s.get(SKIPPED, node="new"))
        assert not work.done()
        first, *_ = since(exporter, start)
        assert (first["outcome"], first["detail"]) == ("skipped", "1 build running on the node")
        page = exporter.scrape()
        assert (page.value(BUILT, node="new"), page.value(SUCCESS, node="new")) == (0, 1)
        exporter.wait("a canary", lambda s: s.get(BUILT, node="new"))
        assert work.result()


def test_a_full_disk_is_left_alone(
    farm: Farm, daemon: Callable[..., Daemon], history: Path
) -> None:
    """What is left free is not used up by a canary; when there is room again it is built."""
    remember(history, "new", 7200)
    start = time.time()
    with farm["new"].disk.filled(leave_mb=100):
        exporter = daemon(config(farm, "new", canary={"every": "5s"}, history=history))
        exporter.wait("a skipped canary", lambda s: s.get(SKIPPED, node="new"))
        (first, *_) = since(exporter, start)
        assert first["outcome"] == "skipped"
        assert first["detail"].startswith("too little is free: ")
        assert exporter.scrape().value(BUILT, node="new") == 0
    exporter.wait(
        "a canary", lambda s: s.get(SUCCESS, node="new") == 1 and s.get(BUILT, node="new")
    )


def test_a_node_that_is_down_is_left_out(
    farm: Farm, daemon: Callable[..., Daemon], history: Path
) -> None:
    """With the layer and the reason; the others are built."""
    for name in ("new", "kitd"):
        remember(history, name, 7200)
    start = time.time()
    with farm["new"].engine.stopped():
        exporter = daemon(config(farm, "new", "kitd", canary={"every": "1h"}, history=history))
        exporter.wait("a canary", lambda s: s.get(BUILT, node="kitd"))
        wait_for("what is told of it", lambda: "no canary is built" in exporter.said(), timeout=60)
    assert "the node is down: engine: engine: " in exporter.said()
    assert {c["node"] for c in since(exporter, start)} == {"kitd"}


def test_a_missed_run_is_made_up_once(farm: Farm, tmp_path: Path, history: Path) -> None:
    """Killed in the middle of it, the next daemon makes it up; killed after it, none does."""
    remember(history, "new", 7200)
    start = time.time()

    def until(
        workload: dict[str, str] | None, name: str, holds: Callable[[Daemon], object]
    ) -> None:
        """Run a daemon until something holds, and kill it."""
        canary = {"every": "1h", "timeout": "10m"} | ({"workload": workload} if workload else {})
        (tmp_path / name).mkdir()
        wanted = config(farm, "new", canary=canary, history=history)
        try:
            with running(wanted, tmp_path / name, farm.client.env) as exporter:
                wait_for(name, lambda: holds(exporter), timeout=60, why=exporter.said)
                exporter.process.kill()
                exporter.process.wait(30)
        except FarmError as error:
            assert "ended with -9" in str(error)  # noqa: PT017 - anything may be raised before

    until(ENDLESS, "in-the-middle", lambda _: computing(farm["new"]))
    wait_for("the node to give it up", lambda: not computing(farm["new"]), timeout=60)
    until(None, "made-up", lambda exporter: len(since(exporter, start)) == 1)
    seen: list[float] = []

    def scheduled(exporter: Daemon) -> bool:
        lines = [json.loads(line) for line in exporter.log.read_text().splitlines()]
        told = [line for line in lines if line["event"] == "canary scheduled"]
        seen[:] = [line["seconds_until_first"] for line in told]
        assert len(since(exporter, start)) == 1
        return bool(seen)

    until(None, "not-again", scheduled)
    assert 3500 < seen[0] < 3600


def test_stopped_in_the_middle_it_ends_at_once(
    farm: Farm, daemon: Callable[..., Daemon], history: Path
) -> None:
    """The build is cancelled on the node, nothing of it is recorded."""
    remember(history, "new", 7200)
    start = time.time()
    canary = {"every": "1h", "workload": ENDLESS, "timeout": "10m"}
    exporter = daemon(config(farm, "new", canary=canary, history=history))
    wait_for("the build", lambda: computing(farm["new"]), timeout=60, why=exporter.said)
    assert exporter.stop() == 0
    assert not computing(farm["new"])
    again = daemon(config(farm, "new", canary={"every": "1h"}, history=history))
    again.wait("the canary that was not built", lambda s: s.get(BUILT, node="new") == 1)
    assert [c["outcome"] for c in since(again, start)] == ["ok"]


def test_what_was_built_before_this_start_is_shown(
    farm: Farm, daemon: Callable[..., Daemon], history: Path
) -> None:
    """Of builders that there are still to be canaries on."""
    remember(history, "new", 60)
    wanted = config(farm, "new", canary={"every": "1h"}, history=history)
    exporter = daemon(wanted)
    exporter.wait("the plan", lambda s: s.get(BUILT, node="new", builder="farm0") == 0)
    assert exporter.scrape().value(SUCCESS, node="new", builder="farm0") == 1
    exporter.stop()
    wanted["nodes"][0]["builders"] = ["docker"]
    exporter = daemon(wanted)
    exporter.wait("the plan", lambda s: s.get(BUILT, node="new", builder="docker") == 0)
    assert not exporter.scrape().all(SUCCESS)


def test_the_build_over_the_whole_farm(
    farm: Farm, daemon: Callable[..., Daemon], history: Path
) -> None:
    """It runs on the schedule too, while no other canary does."""
    whole = {
        "builder": "farm",
        "push": f"{farm.registry_address}/canary:latest",
        "cache": f"{farm.registry_address}/canary:buildcache",
    }
    canary = {"every": "10s", "multiarch": whole}
    exporter = daemon(config(farm, "new", "local", canary=canary, history=history))
    page = exporter.wait(
        "two of them",
        lambda s: s.value("buildfarm_multiarch_canary_runs_total", builder="farm") >= 2,
        timeout=180,
    )
    said = exporter.json("/api/v1/canaries")
    assert {(w["outcome"], w["builder"]) for w in said["multiarch"]} == {("ok", "farm")}
    assert page.value("buildfarm_multiarch_canary_success", builder="farm") == 1
    assert page.value("buildfarm_multiarch_canary_platforms", builder="farm") == 1
    # A builder of one node builds once: there is no other to have it from the shared cache.
    assert not page.all("buildfarm_multiarch_canary_steps")
    assert exporter.json("/api/v1/canaries?node=new")["multiarch"] == []
    for one in said["multiarch"]:
        assert not [
            c
            for c in said["canaries"]
            if c["started_at"] < one["finished_at"] and one["started_at"] < c["finished_at"]
        ]
