"""``check``: what it prints, and how it exits."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from exporter.cli.check import report
from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.node import SimulatedNode
from exporter.errors import Layer, Reason
from exporter.model import Certificates, CollectorState, Failure, Orphans, Snapshot
from tests.cli.command import command, config_for
from tests.exposition.known import DOWN, NOW, known, learned

GOOD = CollectorState(success=True, duration=0.1, last_success=NOW, timeouts=0)
NAMES = ("reachability", "workers", "disk", "cache", "orphans", "certificates", "builds")
WELL = replace(known(), collectors=dict.fromkeys(NAMES, GOOD))
NO_DISK = replace(
    GOOD, success=False, error=Failure(Layer.TRANSPORT, Reason.PROTOCOL, "no way to look")
)


def printed(*snapshots: Snapshot, width: int = 80) -> tuple[int, str]:
    """The exit code, and what is printed on a terminal of that width."""
    out = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    code = report(out, snapshots)
    assert isinstance(out.file, io.StringIO)
    text = out.file.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert all(line == line.rstrip() for line in text.splitlines())
    return code, text


def test_a_node_that_is_well() -> None:
    code, text = printed(WELL)
    assert code == 0
    assert text == (
        """
amd64-1  ssh://n1.example.com
  transport     ok    answers within 1.2 ms
  engine        ok    Docker 28.5.2 (API 1.51), linux/amd64, /var/lib/docker
  buildkit      ok    docker v0.25.1 (not selected); farm0 v0.32.2
  workers       ok    native linux/amd64; emulated linux/arm64
  disk          ok    /var/lib/docker: 400 B of 1000 B free (40 %), inodes 40 %
                      free
  cache         ok    docker 42 B in 4 records, 30 B reclaimable; farm0 312 B in
                      4 records, 300 B reclaimable
  orphans       ok    buildx_buildkit_old0_state, 7 B: no container uses them
  certificates  ok    server certificate valid until 2023-11-15, client
                      certificate valid until 2023-11-16
  builds        ok    docker: this version of BuildKit does not tell (Engine
                      before 24.0); farm0 1 running

Well.
"""
    )


def test_above_the_layer_that_fails_nothing_is_known() -> None:
    code, text = printed(Snapshot(WELL.node, reachability=learned(DOWN), collectors={}))
    assert code == 1
    assert text == (
        """
amd64-1  ssh://n1.example.com
  transport     ok    connected
  engine        FAIL  permission: no right
                   -> Add the user to the group that owns the socket, mostly
                      docker: usermod -aG docker USER on the node.

1 of 1 node with failures: amd64-1
"""
    )


def test_what_can_be_known_beside_a_failing_builder_is_shown() -> None:
    gone = Failure(Layer.BUILDKIT, Reason.BUILDKIT, "the container of builder farm0 is gone")
    layers = {Layer.TRANSPORT: True, Layer.ENGINE: True, Layer.BUILDKIT: False}
    reachability = learned(replace(DOWN, layers=layers, failure=gone))
    states = {**WELL.collectors, "cache": replace(GOOD, success=False, error=gone)}
    code, text = printed(replace(WELL, reachability=reachability, collectors=states))
    assert code == 1
    assert "buildkit      FAIL  buildkit: the container of builder farm0 is gone" in text
    assert text.count("is gone") == 1
    assert "disk          ok" in text
    assert "  cache " not in text


def test_a_failing_collector_has_its_own_advice() -> None:
    states = {**WELL.collectors, "disk": NO_DISK}
    code, text = printed(replace(WELL, collectors=states))
    assert code == 1
    assert (
        "  disk          FAIL  protocol: no way to look\n"
        "                   -> Everything else about this node is watched without it.\n"
    ) in text


def test_all_that_fail_are_named_in_the_end() -> None:
    bad = replace(WELL.node, name="bad"), replace(WELL.node, name="worse")
    down = [Snapshot(node, reachability=learned(DOWN)) for node in bad]
    assert printed(WELL, *down)[1].endswith("\n2 of 3 nodes with failures: bad, worse\n")
    assert printed(WELL, WELL)[1].endswith("\nAll 2 nodes well.\n")


@pytest.mark.parametrize(
    ("orphans", "said"),
    [
        (Orphans((), 0), "no state volume without its builder"),
        (Orphans(("a", "b"), None), "a, b: no container uses them"),
    ],
)
def test_orphans(orphans: Orphans, said: str) -> None:
    assert f"orphans       ok    {said}\n" in printed(replace(WELL, orphans=learned(orphans)))[1]


def test_without_a_client_certificate() -> None:
    only = learned(Certificates(NOW, None))
    assert "client" not in printed(replace(WELL, certificates=only))[1]


def test_brackets_and_colons_are_no_markup() -> None:
    node = replace(WELL.node, name="[red]n[/red] :smile:")
    assert "[red]n[/red] :smile:" in printed(replace(WELL, node=node))[1]


@pytest.mark.parametrize("width", [50, 60, 120])
def test_any_width(width: int) -> None:
    assert printed(WELL, width=width)[0] == 0


BLUEPRINT = Blueprint("amd64-1", builders=(BuilderPlan("farm0", records=5),))


def builder_gone(node: SimulatedNode) -> None:
    node.machine.builders["farm0"].running = False


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (SimulatedNode.refuse, "transport     FAIL  refused: "),
        (SimulatedNode.silence, "transport     FAIL  timeout: "),
        (SimulatedNode.hang, "engine        FAIL  timeout: "),
        (SimulatedNode.stop_daemon, "engine        FAIL  engine: "),
        (builder_gone, "buildkit      FAIL  buildkit: the container of builder farm0 does not run"),
    ],
)
async def test_a_node_s_fault_from_the_command_line(
    tmp_path: Path, fault: Callable[[SimulatedNode], None], said: str
) -> None:
    async with SimulatedNode(BLUEPRINT, rng=Random(1), clock=time.time) as node:
        config = config_for(node, path=tmp_path / "farm.yml")
        fault(node)
        done = await command("check", "--config", config)
    assert done.code == 1
    assert said in done.out
    assert "                   -> " in done.out
    assert done.err == ""


async def test_a_pipe_gets_each_thing_in_one_line(tmp_path: Path) -> None:
    async with SimulatedNode(BLUEPRINT, rng=Random(1), clock=time.time) as node:
        done = await command("check", "--config", config_for(node, path=tmp_path / "farm.yml"))
    assert done.code == 0, done.out
    assert [line[2:14].strip() for line in done.lines if " ok  " in line] == [
        "transport",
        "engine",
        "buildkit",
        "workers",
        "disk",
        "cache",
        "orphans",
        "builds",
    ]
    assert done.lines[-1] == "Well."


async def test_remarks_on_the_configuration_are_shown(tmp_path: Path) -> None:
    async with SimulatedNode(BLUEPRINT, rng=Random(1), clock=time.time) as node:
        config = config_for(node, path=tmp_path / "farm.yml", more="node_files: [more/*.yml]\n")
        done = await command("check", "--config", config)
    assert done.lines[0] == f"Configuration: {config}: 1 node, valid."
    assert done.lines[1].startswith("! ")
    assert "no file matches this pattern" in done.lines[1]
