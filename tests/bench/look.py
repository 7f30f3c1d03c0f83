"""One look at a real node, as the daemon takes it and as a shell loop does."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from random import Random
from statistics import median
from typing import Self

from exporter.app import CLOCK
from exporter.buildkit.node import NodeClient
from exporter.collectors import COLLECTORS
from exporter.collectors.runner import apply, run
from exporter.model import NodeSpec, Snapshot, SshEndpoint
from exporter.transports import open_transport
from tests.bench.cpu import NodeCpu, Spent, machine, spent
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import FarmError, wait_for

SUBJECTS = ("reachability", "disk", "cache")

_ROUNDS = 5
_QUIET = 3.0
# CPUs that others use, above which the machine's total says nothing about us.
_BUSY = 0.3
_SHELL = "docker system df; df; df -i"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one look costs, in milliseconds; the median of several rounds."""

    way: str
    client: float
    """CPU of our process, and of those that it starts."""
    both: float
    """That, and the CPU of all of the node's processes."""
    machine: float
    """CPU of the whole machine, on which client and node are, without what it does otherwise;
    not a number where that is too much."""
    wall: float

    @property
    def figures(self) -> tuple[float, ...]:
        """All four."""
        return (self.client, self.both, self.machine, self.wall)


class Daemon:
    """The daemon's own collectors over one kept connection."""

    def __init__(self, farm: Farm, node: Node) -> None:
        endpoint = SshEndpoint(
            node.address,
            user="root",
            identity_files=(farm.client.key("restricted"),),
            known_hosts=(farm.client.known_hosts,),
            config_files=(),
        )
        self._spec = NodeSpec(node.name, endpoint)
        self._client = NodeClient(self._spec, open_transport(self._spec, Random(1)))
        self._snapshot = Snapshot(self._spec)
        self._collectors = [c for c in COLLECTORS if c.name in SUBJECTS]
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def look(self, times: int) -> None:
        """Look so many times, one after another."""
        self._runner.run(self._look(times))

    async def _look(self, times: int) -> None:
        for _ in range(times):
            for collector in self._collectors:
                outcome = await run(collector, self._client, self._snapshot, CLOCK, _no_page)
                if outcome.error is not None:
                    raise FarmError(f"{collector.name}: {outcome.error.detail}")
                self._snapshot = apply(self._snapshot, outcome)
                reachability = self._snapshot.reachability
                if reachability is not None and reachability.value.failure is not None:
                    raise FarmError(reachability.value.failure.detail)


async def _no_page(url: str) -> str:
    raise FarmError(f"nobody has a page here: {url}")


class ShellLoop:
    """``ssh node 'docker system df; df'``: a connection for each look, or, by ``kept``, one."""

    def __init__(self, farm: Farm, node: Node, *, kept: bool = False) -> None:
        socket = farm.client.home / f"control-{node.name}"
        through = ["-o", f"ControlPath={socket}"] if kept else []
        self._env = farm.client.env
        self._argv = farm.client.ssh_argv(node.address, _SHELL, options=through)
        self.master: subprocess.Popen[bytes] | None = None
        if kept:
            argv = farm.client.ssh_argv(node.address, options=["-M", "-N", *through])
            self.master = subprocess.Popen(argv, env=self._env, stdin=subprocess.DEVNULL)
            wait_for("ssh's kept connection", socket.exists, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.master is not None:
            self.master.terminate()
            self.master.wait(30)

    def look(self, times: int) -> None:
        """Look so many times, one after another."""
        for _ in range(times):
            subprocess.run(
                self._argv,
                env=self._env,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
            )


def compare(farm: Farm, node: Node) -> list[Cost]:
    """Take turns at all ways, so that whatever else the machine does burdens all of them."""
    cpu = NodeCpu(node)
    with (
        Daemon(farm, node) as daemon,
        ShellLoop(farm, node) as shell,
        ShellLoop(farm, node, kept=True) as kept,
    ):
        assert kept.master is not None
        ways: list[tuple[str, Callable[[int], None], int]] = [
            ("this exporter, one kept connection", daemon.look, 200),
            ("shell loop over ssh", shell.look, 8),
            ("shell loop over ssh, one kept connection", kept.look, 8),
        ]
        rounds: dict[str, list[Cost]] = {way: [] for way, _, _ in ways}
        for _, look, times in ways:
            look(max(times // 8, 2))
        for _ in range(_ROUNDS):
            otherwise = _busy_otherwise()
            for way, look, times in ways:
                with spent(cpu, kept.master.pid) as total:
                    look(times)
                rounds[way].append(_cost(way, total, times, otherwise))
    return [_median(way, costs) for way, costs in rounds.items()]


def _busy_otherwise() -> float:
    """CPU seconds that the machine spends each second when nobody looks."""
    before, start = machine(), time.perf_counter()
    time.sleep(_QUIET)
    return (machine() - before) / (time.perf_counter() - start)


def _cost(way: str, total: Spent, times: int, otherwise: float) -> Cost:
    each = 1000 / times
    alone = total.machine - otherwise * total.wall
    return Cost(
        way,
        client=total.client * each,
        both=(total.client + total.node) * each,
        machine=alone * each if otherwise < _BUSY else nan,
        wall=total.wall * each,
    )


def _median(way: str, costs: list[Cost]) -> Cost:
    columns = zip(*(cost.figures for cost in costs), strict=True)
    known = ([figure for figure in column if not isnan(figure)] for column in columns)
    return Cost(way, *(median(figures) if figures else nan for figures in known))
