"""A server on a node: started, stopped, hung, killed, restarted."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.realfarm.namespace import Machine, child_of
from tests.realfarm.shell import FarmError, tail, wait_for


class Service:
    """One server of one node."""

    def __init__(
        self,
        machine: Machine,
        name: str,
        argv: Callable[[], Sequence[str]],
        ready: Callable[[], bool],
    ) -> None:
        self.machine, self.name = machine, name
        self._argv, self._ready = argv, ready
        self._holder: subprocess.Popen[bytes] | None = None
        self.log: Path = machine.slot.disks / machine.name / f"{name}.log"

    @property
    def pid(self) -> int:
        """Its process, as this machine counts."""
        if self._holder is None:
            raise FarmError(f"{self.machine.name}: {self.name} is not running")
        return child_of(self._holder.pid)

    def start(self, timeout: float = 60) -> None:
        """Start, and wait until it answers."""
        if self._holder is not None:
            raise FarmError(f"{self.machine.name}: {self.name} runs already")
        self._holder = holder = self.machine.spawn(self._argv(), self.log)

        def ready_or_dead() -> bool:
            if holder.poll() is None:
                return self._ready()
            self._holder = None
            raise FarmError(
                f"{self.machine.name}: {self.name} ended with {holder.returncode}:\n{self._said()}"
            )

        wait_for(
            f"{self.machine.name}: {self.name}", ready_or_dead, timeout=timeout, why=self._said
        )

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 60) -> None:
        """End it by a signal, and wait until it has."""
        if self._holder is None:
            return
        if self._holder.poll() is None:
            os.kill(self.pid, number)
            self._holder.send_signal(signal.SIGCONT)
        self._holder.wait(timeout)
        self._holder = None

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start: new options and new files are read."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Hang it: its sockets accept, nothing answers."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        # A thread that runs meanwhile may still answer.
        wait_for("every thread to stop", lambda: _threads(pid) == {"T"}, timeout=10, every=0.01)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)
        if self._holder is not None:  # nsenter stops itself with what it started
            self._holder.send_signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hung inside."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Not running inside."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def _said(self) -> str:
        return tail(self.log.read_text(errors="replace"))


def _threads(pid: int) -> set[str]:
    """The states of a process's threads, as the kernel has them."""
    stats = [task.joinpath("stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}
