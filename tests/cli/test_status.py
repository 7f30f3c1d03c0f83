"""``status``: the table, on terminals of several widths and in a pipe."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from exporter.builds import Builds
from exporter.cli.status import report
from exporter.demo.farm import DemoFarm
from exporter.errors import Layer, Reason
from exporter.model import CollectorState, Failure, Orphans, Snapshot, Workers
from tests.cli.command import command, config_for
from tests.exposition.known import BUILDS, DISK, DOWN, ENGINE, FARM0, cache, known, learned

GIB = 1024**3
TIDY = replace(
    known("n1"), orphans=learned(Orphans((), 0)), builds=learned((BUILDS,)), collectors={}
)


def printed(*snapshots: Snapshot, width: int = 80, colour: bool = False) -> list[str]:
    out = Console(
        file=io.StringIO(),
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        force_terminal=colour,
        color_system="standard" if colour else None,
    )
    report(out, snapshots)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert colour or all(len(line) <= width for line in lines)
    return lines


def test_a_node() -> None:
    disk = replace(DISK, size=200 * GIB, available=150 * GIB)
    snapshot = replace(
        TIDY, disk=learned(disk), cache=learned((cache("docker"), cache("farm0", 30 * GIB)))
    )
    assert printed(snapshot) == [
        "NODE  STATE  PLATFORMS        DISK FREE  INODES FREE  BUILDER     CACHE",
        "n1    up     amd64 +1   150.0 GiB  75 %         40 %  farm0    30.0 GiB",
        "",
        "+N  as many more platforms, emulated",
    ]


def test_each_selected_builder_has_a_row() -> None:
    more = replace(FARM0, builder=replace(FARM0.builder, name="nightly0"), platforms=())
    workers = learned(Workers(ENGINE, (FARM0, more)))
    _, first, second, *_ = printed(replace(TIDY, workers=workers))
    assert first.startswith("n1    up ")
    assert (first.split()[-3:], second.split()) == (["farm0", "312", "B"], ["nightly0", "-"])


def test_a_node_that_is_down_says_why_below() -> None:
    down = Snapshot(TIDY.node, reachability=learned(DOWN))
    assert printed(down) == [
        "NODE  STATE       PLATFORMS  DISK FREE  INODES FREE  BUILDER  CACHE",
        "n1    permission  -                  -            -  -            -",
        "",
        "n1  engine: permission: no right",
    ]


def test_a_builder_that_does_not_tell_of_its_builds_is_noted() -> None:
    lines = printed(replace(TIDY, builds=learned((Builds("docker", told=False), BUILDS))))
    assert lines[3] == (
        "n1/docker  builds: this version of BuildKit does not tell (Engine before 24.0)"
    )


def test_a_collection_that_failed_and_what_nobody_uses_are_noted() -> None:
    error = Failure(Layer.TRANSPORT, Reason.PROTOCOL, "no way to look")
    failed = {"disk": CollectorState(False, 0.1, None, 0, error)}
    lines = printed(replace(TIDY, orphans=learned(Orphans(("a", "b"), 3 * GIB)), collectors=failed))
    assert lines[3:] == [
        "n1  disk: protocol: no way to look",
        "n1  2 state volumes with 3.0 GiB that no builder uses",
        "+N  as many more platforms, emulated",
    ]


@pytest.mark.parametrize(("share", "colour"), [(0.5, None), (0.14, "\x1b[33m"), (0.04, "\x1b[31m")])
def test_a_disk_that_gets_full_shows(share: float, colour: str | None) -> None:
    disk = replace(DISK, size=1000, available=int(share * 1000), inodes_free=100)
    line = printed(replace(TIDY, disk=learned(disk)), colour=True)[1]
    found = [code for code in ("\x1b[33m", "\x1b[31m") if f"{code}{share * 100:>3.0f} %" in line]
    assert found == ([colour] if colour else [])


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (80, set()),
        (60, {"INODES FREE"}),
        (45, {"INODES FREE", "PLATFORMS"}),
        (35, {"INODES FREE", "PLATFORMS", "BUILDER"}),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns(width: int, left_out: set[str]) -> None:
    head, row, *notes = printed(TIDY, width=width)
    names = {"NODE", "STATE", "PLATFORMS", "DISK FREE", "INODES FREE", "BUILDER", "CACHE"}
    assert {name for name in names if name not in head} == left_out
    assert row.startswith("n1 ")
    assert row.endswith("312 B")
    assert "…" not in head + row
    assert bool(notes) is ("PLATFORMS" not in left_out)


@pytest.mark.parametrize("columns", ["80", "60", None], ids=["80", "60", "pipe"])
async def test_six_nodes(tmp_path: Path, columns: str | None) -> None:
    async with DemoFarm(6, rng=Random(7), clock=time.time, story=False) as farm:
        config = config_for(*farm.nodes, path=tmp_path / "farm.yml")
        done = await command("status", "--config", config, columns=columns)
    assert (done.code, done.err) == (0, "")
    names = [line.split()[0] for line in done.lines[1:9] if line and line[0] != " "]
    assert names[:6] == [node.blueprint.name for node in farm.nodes]
    assert max(len(line) for line in done.lines) <= int(columns or 80)
    assert all(line == line.rstrip() for line in done.lines)
    assert "…" not in done.out
