"""A slot is a number that keeps a farm's names apart from others', and takes all of it down.

Every name that a farm makes on this machine begins with its slot's prefix, so what a killed run
left is found by name, and only ever removed by the next holder of that slot's lock.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.realfarm.paths import CACHE, RUNTIME
from tests.realfarm.shell import FarmError, run, wait_for

_COUNT = 250
BINFMT = Path("/proc/sys/fs/binfmt_misc")
"""Where the kernel keeps which emulator runs what."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The names of one farm."""

    number: int
    children: list[subprocess.Popen[Any]] = field(default_factory=list, compare=False)
    """Every process that was started for it; they are waited for when all have been killed."""

    @property
    def prefix(self) -> str:
        """What all names begin with; it is the bridge's name, too."""
        return f"bfx{self.number}"

    @property
    def runtime(self) -> Path:
        """Sockets, mount points and the client's home."""
        return RUNTIME / str(self.number)

    @property
    def disks(self) -> Path:
        """Disk images and logs."""
        return CACHE / "slots" / str(self.number)

    def name(self, node: str) -> str:
        """A node's network namespace, interface and control group."""
        return f"{self.prefix}-{node}"

    def address(self, host: int) -> str:
        """An address of the farm's network, which is one for benchmarks (RFC 2544)."""
        return f"198.18.{self.number}.{host}"


@contextmanager
def hold_slot() -> Iterator[Slot]:
    """Hold the first free slot, swept before and after. Left-overs of other slots go as well."""
    RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
    with ExitStack() as stack:
        number = next((n for n in range(_COUNT) if stack.enter_context(_try_lock(n))), None)
        if number is None:
            raise FarmError(f"all {_COUNT} slots in {RUNTIME} are taken")
        slot = Slot(number)
        sweep(slot)
        sweep_left_overs()
        try:
            yield slot
        finally:
            sweep(slot)
            for child in slot.children:
                child.wait(30)


def sweep_left_overs() -> list[Slot]:
    """Take down what killed runs left in slots that nobody holds; which those were."""
    swept = []
    for folder in RUNTIME.iterdir():
        if folder.is_dir() and folder.name.isdigit():
            with _try_lock(int(folder.name)) as free:
                if free:
                    slot = Slot(int(folder.name))
                    sweep(slot)
                    swept.append(slot)
    return swept


def left_overs(slot: Slot) -> list[str]:
    """What there is on this machine with the slot's names: empty once it is swept."""
    found = [f"link {name}" for name in _links(slot)]
    found += [f"namespace {name}" for name in _namespaces(slot)]
    found += [f"loop device {device}" for device in _loop_devices(slot)]
    found += [f"mount {point}" for point in _mounts(slot)]
    found += [f"control group {group}" for group in _control_groups(slot)]
    found += [f"emulator {entry}" for entry in BINFMT.glob(f"{slot.prefix}-*")]
    return found + [f"folder {path}" for path in (slot.runtime, slot.disks) if path.exists()]


def sweep(slot: Slot) -> None:
    """Take down everything that has the slot's names, whoever made it and however far it got.

    :raises FarmError: when something is still there afterwards.
    """
    for name in _namespaces(slot):
        _kill_all_in(name)
        run(["ip", "netns", "delete", name])
    for link in _links(slot):  # a namespace takes its links along, but only some time later
        run(["ip", "link", "delete", link], check=False)
    for point in _mounts(slot):
        run(["umount", "--lazy", point])
    for device in _loop_devices(slot):
        run(["losetup", "--detach", device], check=False)
    wait_for(f"loop devices of {slot.disks} to be free", lambda: not _loop_devices(slot))
    for entry in BINFMT.glob(f"{slot.prefix}-*"):
        entry.write_text("-1")
    for group in _control_groups(slot):
        _remove_groups(group)
    shutil.rmtree(slot.runtime, ignore_errors=True)
    shutil.rmtree(slot.disks, ignore_errors=True)
    if rest := left_overs(slot):
        raise FarmError(f"take-down of {slot.prefix} left {', '.join(rest)}")


@contextmanager
def _try_lock(number: int) -> Iterator[bool]:
    """Whether the slot was free; it is held inside. A dead holder's lock is free."""
    with (RUNTIME / f"{number}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free


def _kill_all_in(name: str) -> None:
    """Kill the processes of a network namespace: its own, all of them, and nothing else."""

    def members() -> list[int]:
        return [int(pid) for pid in run(["ip", "netns", "pids", name]).stdout.split()]

    def kill() -> bool:
        for pid in (alive := members()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not alive

    wait_for(f"processes of {name} to end", kill, why=lambda: str(members()))


def _links(slot: Slot) -> list[str]:
    own = re.compile(rf"{slot.prefix}(-\w+)?")
    listing = run(["ip", "-brief", "link"]).stdout.splitlines()
    names = [line.split()[0].partition("@")[0] for line in listing]
    return [name for name in names if own.fullmatch(name)]


def _namespaces(slot: Slot) -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{slot.prefix}-*"))


def _loop_devices(slot: Slot) -> list[str]:
    listing = run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"]).stdout
    return [line.split()[0] for line in listing.splitlines() if f" {slot.disks}/" in line]


def _mounts(slot: Slot) -> list[str]:
    """Mount points below the slot's folders, the deepest first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1] for line in lines]
    inside = (f"{slot.runtime}/", f"{slot.disks}/")
    return sorted((p for p in points if p.startswith(inside)), reverse=True)


def _control_groups(slot: Slot) -> list[Path]:
    """The nodes' control groups: in each hierarchy of version 1, or the one of version 2."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob(f"{slot.prefix}-*"), *root.glob(f"*/{slot.prefix}-*")]


def _remove_groups(top: Path) -> None:
    def empty() -> bool:
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # its processes are dying still
                return False
        return True

    wait_for(f"{top} to be empty", empty)
