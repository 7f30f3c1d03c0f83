"""A farm that is over leaves nothing on this machine, however it ended.

Every take-down looks for what it left and fails if there is any: see ``slots.sweep``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.realfarm.farm import raised
from tests.realfarm.paths import CACHE
from tests.realfarm.shell import FarmError
from tests.realfarm.slots import Slot, left_overs, sweep_left_overs
from tests.realfarm.specs import FarmNode

ROOT = Path(__file__).parents[2]
KINDS = {"link", "namespace", "loop", "mount", "folder", "control"}


def test_what_is_up_is_known_by_name() -> None:
    """Whatever kind of thing a farm makes, the take-down knows how to find it."""
    with raised([FarmNode("a", 11, ssh=True), FarmNode("b", 12, shared=True)]) as farm:
        farm["b"].build("docker", "FROM busybox\nRUN true\n")
        assert {found.split()[0] for found in left_overs(farm.slot)} == KINDS


def test_farm_that_fails_half_way_is_taken_down() -> None:
    """A node that can't be raised takes the others down with it, and says why."""
    bad = FarmNode("bad", 12, size_mb=20, inodes=10_000_000)
    with pytest.raises(FarmError, match="mkfs"), raised([FarmNode("good", 11, ssh=True), bad]):
        pytest.fail("a farm with a node that can't be")


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_ended_run_is_taken_down(end: str) -> None:
    """A run that is told to end cleans up; what a killed one left, the next one takes down."""
    argv = [sys.executable, "-m", "tests.realfarm.up", "kitd"]
    env = {**os.environ, "BUILDFARM_TEST_CACHE": str(CACHE)}
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, cwd=ROOT, stdout=pipe, text=True, env=env) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        named = next(line for line in lines if line.startswith("# buildfarm-exporter"))
        slot = Slot(int(Path(named.split()[-1]).parent.name))
        assert left_overs(slot)
        getattr(process, end)()
        assert process.wait(60) == (0 if end == "terminate" else -9)
    swept = sweep_left_overs()
    assert (slot in swept) == (end == "kill")
