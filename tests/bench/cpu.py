"""CPU time: of this process and its children, of one node's servers, of the whole machine."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.realfarm.node import Node

_CGROUPS = Path("/sys/fs/cgroup")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def own() -> float:
    """Seconds of this process and of its children that ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def machine() -> float:
    """Seconds that all CPUs of this machine were busy since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = (
        int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) * _TICK


def of(pid: int) -> float:
    """Seconds of a process and of its children that ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) * _TICK


class NodeCpu:
    """All that a node's servers, their children and its containers use.

    Docker puts the containers into a control group named as the node; the servers, which are
    started without one, are put into another beside it.
    """

    def __init__(self, node: Node) -> None:
        legacy = _CGROUPS / "cpuacct"
        self._root = legacy if legacy.is_dir() else _CGROUPS
        name = node.slot.name(node.name)
        self._groups = [self._root / name, self._root / f"{name}-servers"]
        self._groups[1].mkdir(exist_ok=True)
        network = Path(f"/proc/{node.machine.init}/ns/net").stat().st_ino
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and _network(entry) == network:
                (self._groups[1] / "cgroup.procs").write_text(entry.name)

    def seconds(self) -> float:
        """CPU seconds so far."""
        return sum(self._used(group) for group in self._groups if group.is_dir())

    def _used(self, group: Path) -> float:
        if (legacy := group / "cpuacct.usage").exists():
            return int(legacy.read_text()) / 1e9
        stat = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"]) / 1e6


def _network(process: Path) -> int | None:
    try:
        return (process / "ns/net").stat().st_ino
    except (FileNotFoundError, PermissionError):  # it ended meanwhile, or is none of ours
        return None


@dataclass(slots=True)
class Spent:
    """What was spent inside a ``with``, in seconds."""

    client: float = 0.0
    node: float = 0.0
    machine: float = 0.0
    wall: float = 0.0


@contextmanager
def spent(node: NodeCpu, helper: int) -> Iterator[Spent]:
    """Measure what is done inside; ``helper`` is a running process that counts as the client."""

    def now() -> tuple[float, float, float, float]:
        return own() + _running(helper), node.seconds(), machine(), time.perf_counter()

    result, before = Spent(), now()
    yield result
    result.client, result.node, result.machine, result.wall = (
        b - a for a, b in zip(before, now(), strict=True)
    )


def _running(pid: int) -> float:
    """Seconds of a process with one thread, more exactly than by ticks."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
