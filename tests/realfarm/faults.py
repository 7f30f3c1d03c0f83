"""What goes wrong with a node's network and disk. Every fault is undone when its ``with`` ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from tests.realfarm.namespace import Machine
from tests.realfarm.shell import run


class Network:
    """Faults of the node's network, seen from outside; the node's own loopback stays."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._tables = itertools.count()  # faults may be nested

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Drop every packet: the peer is there and says nothing, not even that it is closed."""
        with self._rules("drop"):
            yield

    @contextmanager
    def lossy(self, percent: int) -> Iterator[None]:
        """Lose so many of the packets in each direction."""
        with self._rules(f"numgen random mod 100 < {percent} drop"):
            yield

    @contextmanager
    def closed(self, port: int) -> Iterator[None]:
        """Refuse connections to a TCP port, and reset those there are."""
        with self._rules(f"tcp dport {port} reject with tcp reset", directions=("input",)):
            yield

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Take the link down: after a while the host is unreachable."""
        link = self._machine.slot.name(self._machine.name)
        run(["ip", "link", "set", link, "down"])
        try:
            yield
        finally:
            run(["ip", "link", "set", link, "up"])

    @contextmanager
    def slow(self, rate: str = "64kbit") -> Iterator[None]:
        """Send no faster than ``rate`` (as ``tc`` has it), queueing for up to 5 s.

        By ``tbf``, and :meth:`lossy` by nftables: not every kernel has ``netem``.
        """
        shape = ["tbf", "rate", rate, "burst", "2000", "latency", "5s"]
        self._machine.run(["tc", "qdisc", "add", "dev", "eth0", "root", *shape])
        try:
            yield
        finally:
            self._machine.run(["tc", "qdisc", "delete", "dev", "eth0", "root"])

    @contextmanager
    def _rules(
        self, verdict: str, directions: tuple[str, ...] = ("input", "output")
    ) -> Iterator[None]:
        table = f"table inet farm{next(self._tables)}"
        side = {"input": "iifname", "output": "oifname"}
        chains = [
            f"chain {way} {{ type filter hook {way} priority -10; {side[way]} eth0 {verdict}; }}"
            for way in directions
        ]
        self._machine.run(["nft", "-f", "-"], stdin=f"{table} {{\n" + "\n".join(chains) + "\n}\n")
        try:
            yield
        finally:
            self._machine.run(["nft", "delete", table])


class Storage:
    """Faults of the node's disk."""

    def __init__(self, machine: Machine, mount: str) -> None:
        self._machine, self.mount = machine, mount

    @contextmanager
    def filled(self, *, leave_mb: int = 0) -> Iterator[None]:
        """Leave this many MiB; 0 takes root's reserve, too, so that writing fails for all."""
        file = f"{self.mount}/filler"
        try:
            if leave_mb:
                self._machine.run(["fallocate", "-l", f"{self._free_mb() - leave_mb}MiB", file])
            else:
                self._machine.run(["dd", "if=/dev/zero", f"of={file}", "bs=1M"], check=False)
                self._machine.run(["dd", "if=/dev/zero", f"of={file}2", "bs=512"], check=False)
            yield
        finally:
            self._machine.run(["rm", "-f", file, f"{file}2"])

    @contextmanager
    def inodes_filled(self, *, leave: int = 0) -> Iterator[None]:
        """Leave this many inodes."""
        folder = f"{self.mount}/fillers"
        free = int(self._machine.run(["stat", "-f", "-c", "%d", self.mount]).stdout)
        make = f"mkdir {folder} && cd {folder} && seq {free - leave - 1} | xargs -n 2000 touch"
        try:
            self._machine.run(["sh", "-c", make])
            yield
        finally:
            self._machine.run(["rm", "-rf", folder], timeout=120)

    def _free_mb(self) -> int:
        """What others than root can have, in MiB."""
        size, free = self._machine.run(["stat", "-f", "-c", "%S %a", self.mount]).stdout.split()
        return int(size) * int(free) >> 20
