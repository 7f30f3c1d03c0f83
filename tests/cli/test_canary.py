"""``canary`` by hand, over simulated nodes; and its table."""

from __future__ import annotations

import asyncio
import io
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
    Step,
    StepTime,
)
from exporter.cli.canary_report import report, report_multiarch
from exporter.cli.progress import CanaryView
from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.node import SimulatedNode
from tests.actions.canary_farm import canary
from tests.cli.command import MODULE, PATIENCE, command, config_for, environment

MIB = 1024**2
BUILT = canary(
    node="n1",
    steps={
        Step.PULL: StepTime(0.51, None),
        Step.CPU: StepTime(0.25, 256 * MIB),
        Step.DISK: StepTime(64.0, 256 * MIB),
        Step.EXPORT: StepTime(0.1, 8 * MIB),
    },
)
SMALL = "canary: {every: 6h, workload: {cpu: 1MiB, disk: 1MiB}, max_parallel: 2}\n"


def printed(*records: CanaryRecord, width: int = 80) -> list[str]:
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    report(out, records)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_a_row_for_each() -> None:
    emulated = replace(BUILT, node="n2", platform="linux/arm64", emulated=True)
    assert printed(BUILT, emulated) == [
        "NODE BUILDER PLATFORM RUNS     PULL  CPU CPU/S DISK DISK/S EXPORT RESULT TOTAL",
        "n1   farm0   amd64    native   0.51 0.25 1024M 64.0   4.0M   0.10 ok      10.0",
        "n2   farm0   arm64    emulated 0.51 0.25 1024M 64.0   4.0M   0.10 ok      10.0",
    ]


def test_what_says_nothing_is_left_out() -> None:
    """The pull of what was there already; all of what was not built. Why is told below."""
    steps = {Step.PULL: StepTime(0.01, None, cached=True), Step.CPU: StepTime(0.0, 5)}
    failed = replace(BUILT, outcome=CanaryOutcome.FAILED, steps=steps, detail="disk: exit code: 1")
    missing = replace(BUILT, outcome=CanaryOutcome.MISSING, steps={}, detail="not offered")
    skipped = replace(BUILT, outcome=CanaryOutcome.SKIPPED, steps={}, detail="the node is down")
    assert printed(failed, missing, skipped) == [
        "NODE BUILDER PLATFORM RUNS   PULL  CPU CPU/S DISK DISK/S EXPORT RESULT  TOTAL",
        "n1   farm0   amd64    native    - 0.00     -    -      -      - failed   10.0",
        "n1   farm0   amd64    -         -    -     -    -      -      - missing     -",
        "n1   farm0   amd64    -         -    -     -    -      -      - skipped     -",
        "n1/farm0 linux/amd64  disk: exit code: 1",
        "n1/farm0 linux/amd64  not offered",
        "n1/farm0 linux/amd64  the node is down",
    ]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (80, set()),
        (77, {"EXPORT"}),
        (70, {"EXPORT", "PULL"}),
        (60, {"EXPORT", "PULL", "BUILDER"}),
        (50, {"EXPORT", "PULL", "BUILDER", "CPU", "DISK"}),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(width: int, left_out: set[str]) -> None:
    emulated = replace(BUILT, node="n-2", emulated=True)
    head, row = printed(emulated, width=width)
    names = {"NODE", "BUILDER", "PULL", "EXPORT", "CPU", "DISK", "CPU/S", "DISK/S", "TOTAL"}
    assert names - set(head.split()) == left_out
    assert row.startswith("n-2 ")
    assert row.endswith(" 10.0")


RUN = MultiarchRun(12.4, {"linux/arm64": "farm1", "linux/amd64": "farm0"}, 6, 0)
WHOLE = MultiarchRecord(
    "w",
    "farm",
    CanaryTrigger.MANUAL,
    CanaryOutcome.OK,
    1000.0,
    1030.0,
    first=RUN,
    second=replace(RUN, seconds=2.0, cached=4),
    across_nodes=True,
    pushed=("linux/amd64", "linux/arm64"),
)
PLACES = "(linux/amd64 on farm0, linux/arm64 on farm1)"
WHAT_IT_DID = (
    f"ok in 30 s; pushed for linux/amd64, linux/arm64; built in 12 s {PLACES}; again on other "
    f"nodes in 2 s {PLACES}, 4 of 6 steps from the shared cache"
)


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        (WHOLE, WHAT_IT_DID),
        (
            MultiarchRecord(
                "w",
                "farm",
                CanaryTrigger.MANUAL,
                CanaryOutcome.FAILED,
                1000.0,
                1001.0,
                detail="the docker command line is not installed here",
            ),
            "failed in 1 s; the docker command line is not installed here",
        ),
    ],
)
def test_the_build_over_the_whole_farm(whole: MultiarchRecord, said: str) -> None:
    out = Console(file=io.StringIO(), width=1000)
    report_multiarch(out, whole)
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == f"multiarch farm  {said}\n"


def test_a_terminal_shows_which_step_each_canary_is_at() -> None:
    out = Console(file=io.StringIO(), width=80, force_terminal=True)
    assert isinstance(out.file, io.StringIO)
    with CanaryView(out) as view:
        view.update(("n1", "farm0", "linux/amd64"), Step.DISK)
        view._lines.refresh()
        assert "n1/farm0 linux/amd64 disk" in out.file.getvalue()
        view.ended(("n1", "farm0", "linux/amd64"))
        out.file.truncate(0)
        view._lines.refresh()
        assert "farm0" not in out.file.getvalue()


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    plan = Blueprint("n1", builders=(BuilderPlan("farm0"),))
    async with SimulatedNode(plan, rng=Random(7), clock=time.time) as simulated:
        yield simulated


@pytest.fixture
def config(node: SimulatedNode, tmp_path: Path) -> str:
    url = f"storage: {{url: 'sqlite:///{tmp_path}/history.db'}}\n"
    return config_for(node, path=tmp_path / "farm.yml", more=url + SMALL)


def rows(tmp_path: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(tmp_path / "history.db")) as database:
        return list(database.execute("SELECT builder, platform, trigger, outcome FROM canaries"))


async def test_builds_and_keeps_the_result(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    done = await command("canary", "-c", config, "--platform", "amd64")
    assert (done.code, done.err) == (0, "")
    head, row = done.lines
    assert row.split()[:4] == ["n1", "farm0", "amd64", "native"]
    assert row.split()[-2] == "ok"
    assert len(head) == len(row)
    assert rows(tmp_path) == [("farm0", "linux/amd64", "manual", "ok")]


async def test_a_missing_platform_fails(node: SimulatedNode, config: str, tmp_path: Path) -> None:
    done = await command("canary", "-c", config, "--platform", "linux/s390x")
    assert done.code == 1
    assert "builder farm0 does not offer linux/s390x, not even emulated" in done.out
    assert rows(tmp_path) == [("farm0", "linux/s390x", "manual", "missing")]


async def test_a_busy_node_is_built_on(node: SimulatedNode, config: str) -> None:
    """Who asks for it now wants it now."""
    node.machine.builders["farm0"].start_build(platform="linux/amd64")
    done = await command("canary", "-c", config, "n1")
    assert done.code == 0
    assert "1 build running on the node" in done.out


async def test_a_node_that_is_down_is_told(node: SimulatedNode, config: str) -> None:
    node.refuse()
    done = await command("canary", "-c", config)
    assert done.code == 0
    assert done.out.startswith("n1: the node is down: transport: refused: ")


async def test_without_a_history_it_builds_as_well(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    (tmp_path / "history.db").write_text("this is no database")
    done = await command("canary", "-c", config)
    assert done.code == 0
    assert "ok" in done.lines[1].split()
    assert done.err.startswith("the results are not kept, for the history can't be opened: ")


@pytest.mark.parametrize(
    ("number", "word", "ended"),
    [
        (signal.SIGINT, "Ctrl-C", ()),
        (signal.SIGINT, "Ctrl-C", ("linux/s390x",)),
        (signal.SIGTERM, "Told to stop", ()),
    ],
)
async def test_ctrl_c_cancels_the_build_on_the_node(
    node: SimulatedNode,
    config: str,
    tmp_path: Path,
    number: signal.Signals,
    word: str,
    ended: tuple[str, ...],
) -> None:
    """It says so, and shows what had ended by then. CI systems send SIGTERM."""
    text = Path(config).read_text().replace("cpu: 1MiB", "cpu: 900GiB")
    Path(config).write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *MODULE,
        "canary",
        "-c",
        config,
        *(f"--platform={platform}" for platform in (*ended, "linux/amd64")),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    async with asyncio.timeout(PATIENCE):
        while not node.machine.builders["farm0"].jobs.running:
            await asyncio.sleep(0.05)
        process.send_signal(number)
        said, _ = await process.communicate()
    assert process.returncode == 130
    first, *rest = said.decode().splitlines()
    assert first == f"{word}: the builds are being cancelled on the nodes."
    shown = [line.split()[2] for line in rest if line.startswith("n1 ")]
    assert shown == [platform.removeprefix("linux/") for platform in ended]
    assert bool(rest) == bool(ended)
    assert not node.machine.builders["farm0"].jobs.running
    assert [platform for _, platform, _, _ in rows(tmp_path)] == list(ended)


MULTIARCH = "canary: {every: 6h, multiarch: {builder: farm, push: registry.example.com/canary}}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "no node is called nope; there are: n1"),
        (["--platform", "quantum"], "'quantum' is not a platform; write linux/amd64 or"),
        (["--multiarch"], "--multiarch needs canary.multiarch in the configuration"),
        (["--multiarch", "n1"], "--multiarch goes over the whole farm: leave out the names"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    node: SimulatedNode, config: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Before anything is done, with exit code 2."""
    done = await command("canary", "-c", config, *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not (tmp_path / "history.db").exists()


async def test_the_build_over_the_whole_farm_comes_last(
    node: SimulatedNode, tmp_path: Path
) -> None:
    """Unless it is not wanted, or nodes are named; without docker it says what is missing."""
    config = config_for(node, path=tmp_path / "farm.yml", more=MULTIARCH)
    empty = str(tmp_path / "empty")
    for arguments in (["n1"], ["--no-multiarch"], ["--platform=amd64"]):
        done = await command("canary", "-c", config, *arguments, PATH=empty)
        assert done.code == 0
        assert "multiarch" not in done.out
    done = await command("canary", "-c", config, PATH=empty)
    assert done.code == 1
    assert "multiarch farm  failed in 0 s; the docker command line is not installed" in done.out
