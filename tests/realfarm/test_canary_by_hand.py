"""``buildfarm-exporter canary`` on real nodes."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.realfarm.canaries import ENDLESS, SELECTED, computing, config, offers, sleeping
from tests.realfarm.daemon import COMMAND
from tests.realfarm.farm import Farm
from tests.realfarm.pruning import build
from tests.realfarm.shell import wait_for


class Canary:
    """The command, with a configuration and a history of its own."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self._farm = farm
        self._file = folder / "exporter.yml"
        self.history = folder / "history.db"
        self.env = farm.client.env | {"COLUMNS": "80"}

    def start(self, *arguments: str, **canary: Any) -> subprocess.Popen[str]:
        """Start it, over all nodes unless some are named."""
        wanted = config(self._farm, canary={"every": "6h", **canary}, history=self.history)
        self._file.write_text(yaml.safe_dump(wanted))
        return subprocess.Popen(
            [str(COMMAND), "canary", f"--config={self._file}", *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **canary: Any) -> tuple[int, list[str]]:
        """Run it to its end: its exit code, and the lines it printed."""
        process = self.start(*arguments, **canary)
        said, _ = process.communicate(timeout=180)
        return process.returncode, said.splitlines()

    def rows(self) -> list[Mapping[str, Any]]:
        """What is in the history."""
        with sqlite3.connect(self.history) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute("SELECT * FROM canaries")]


@pytest.fixture
def canary(farm: Farm, tmp_path: Path) -> Canary:
    return Canary(farm, tmp_path)


def cells(lines: list[str]) -> list[dict[str, str]]:
    """The table, by its columns."""
    names = lines[0].split()
    rows = [line.split() for line in lines[1:] if line.split()[0] in SELECTED]
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_all_nodes(canary: Canary) -> None:
    """A row for each, on 80 columns; what was built is in the history, as built by hand."""
    code, lines = canary.run()
    assert code == 0, lines
    table = cells(lines)
    assert [(row["NODE"], row["BUILDER"]) for row in table] == list(SELECTED.items())
    assert {(row["PLATFORM"], row["RUNS"], row["RESULT"]) for row in table} == {
        ("amd64", "native", "ok")
    }
    assert all(float(row["CPU"]) > 0 and float(row["DISK"]) > 0 for row in table)
    assert max(map(len, lines)) <= 80
    assert {(row["trigger"], row["outcome"]) for row in canary.rows()} == {("manual", "ok")}
    assert len(canary.rows()) == len(SELECTED)


def test_native_emulated_and_missing(farm: Farm, canary: Canary) -> None:
    """A missing platform is a failure, with the reason below the table."""
    wanted = ("--platform=amd64", "--platform=arm64", "--platform=linux/riscv64")
    with farm.emulated_arm64():
        wait_for("BuildKit to see it", lambda: offers(farm["new"], "linux/arm64"), timeout=60)
        code, lines = canary.run("new", *wanted)
    assert code == 1
    table = cells(lines)
    assert [(row["PLATFORM"], row["RUNS"], row["RESULT"]) for row in table] == [
        ("amd64", "native", "ok"),
        ("arm64", "emulated", "ok"),
        ("riscv64", "-", "missing"),
    ]
    assert float(table[1]["CPU"]) > float(table[0]["CPU"])
    assert " ".join(" ".join(lines[4:]).split()) == (
        "new/farm0 linux/riscv64 builder farm0 does not offer linux/riscv64, not even emulated"
    )


def test_a_busy_node_is_built_on_and_told(farm: Farm, canary: Canary) -> None:
    """Who asks for it now wants it now."""
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(build, farm["new"], "farm0", f"RUN sleep 20 # {time.time()}")
        wait_for("the build", lambda: sleeping(farm["new"]), timeout=30)
        code, lines = canary.run("new")
        assert not work.done()
        assert work.result()
    assert (code, cells(lines)[0]["RESULT"]) == (0, "ok")
    assert "1 build running on the node" in lines[-1]


def test_a_node_that_is_down_is_told(farm: Farm, canary: Canary) -> None:
    """The others are built."""
    with farm["new"].engine.stopped():
        code, lines = canary.run("new", "local")
    assert code == 0
    assert [row["NODE"] for row in cells(lines)] == ["local"]
    assert "new: the node is down: engine: engine: " in " ".join(lines)


def test_a_failure_is_told(farm: Farm, canary: Canary) -> None:
    """The base image is not there."""
    code, lines = canary.run("new", base_image=f"{farm.registry_address}/nothing:here")
    assert (code, cells(lines)[0]["RESULT"]) == (1, "failed")
    assert lines[2].startswith("new/farm0 linux/amd64  ")
    assert "nothing:here" in " ".join(lines)


def test_ctrl_c_cancels_the_builds_on_the_nodes(farm: Farm, canary: Canary) -> None:
    """It says so; nothing of them goes on, or is in the history."""
    process = canary.start("new", "kitd", workload=ENDLESS, timeout="10m", max_parallel=2)
    for name in ("new", "kitd"):
        wait_for("the build", lambda n=name: computing(farm[n]), timeout=60)  # type: ignore[misc]
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "Ctrl-C: the builds are being cancelled on the nodes.\n"
    assert not computing(farm["new"])
    assert not computing(farm["kitd"])
    assert canary.rows() == []


def test_wrong_names_and_platforms(canary: Canary) -> None:
    """What can't be done is said before anything is."""
    rows = [
        ("nwe", "no node is called nwe; there are: old, new, tls, local, kitd"),
        ("--platform=quantum", "'quantum' is not a platform; write linux/amd64 or linux/arm64"),
        ("--multiarch", "--multiarch needs canary.multiarch in the configuration"),
    ]
    for argument, said in rows:
        assert canary.run(argument) == (2, [said])
    assert not canary.history.exists()


def test_with_the_build_over_the_whole_farm(farm: Farm, canary: Canary) -> None:
    """Where it is configured it comes last, unless it is not wanted or nodes are named."""
    whole = {"builder": "farm", "push": f"{farm.registry_address}/canary:by-hand"}
    code, lines = canary.run("new", multiarch=whole)
    assert (code, len(lines)) == (0, 2)
    code, lines = canary.run("--no-multiarch", multiarch=whole)
    assert (code, len(lines)) == (0, 1 + len(SELECTED))
    code, lines = canary.run(multiarch=whole)
    assert code == 0, lines
    told = " ".join(" ".join(lines[1 + len(SELECTED) :]).split())
    assert told.startswith("multiarch farm ok in ")
    assert "pushed for linux/amd64; built in " in told


def test_the_daemon_hears_of_it(farm: Farm, canary: Canary, daemon: Callable[..., Any]) -> None:
    """A canary by hand on the same history shows in the daemon's metrics."""
    wanted = config(farm, "new", canary={"schedule": "@yearly"}, history=canary.history)
    exporter = daemon(wanted)
    assert canary.run("new")[0] == 0
    exporter.wait(
        "the canary",
        lambda s: s.get("buildfarm_canary_success", node="new") == 1,
        timeout=120,
    )
    assert exporter.scrape().value("buildfarm_canary_runs_total", node="new") == 1
