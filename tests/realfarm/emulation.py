"""A platform that the kernel runs through an emulator, as QEMU's binfmt packages set it up."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.realfarm.paths import RUNTIME, Artifacts
from tests.realfarm.shell import FarmError, run, wait_for
from tests.realfarm.slots import BINFMT, Slot

_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""An ELF header for 64-bit little-endian ARM: machine 0xb7."""


@contextmanager
def emulated_arm64(slot: Slot, artifacts: Artifacts) -> Iterator[None]:
    """Let the kernel run arm64 programs inside; that is all nodes at once, and this machine.

    ``binfmt_misc`` stays mounted, as it is on most machines: other entries may be in it. One farm
    at a time does this; another one waits.

    :raises FarmError: where this machine runs them already, so that nothing would be proven.
    """
    with _alone():
        yield from _registered(slot, artifacts)


@contextmanager
def _alone() -> Iterator[None]:
    with (RUNTIME / "arm64.lock").open("w") as file:

        def locked() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_for("another farm to be done with arm64", locked, timeout=1200)
        yield


def _registered(slot: Slot, artifacts: Artifacts) -> Iterator[None]:
    if not (BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT])
    if others := [entry.name for entry in BINFMT.iterdir() if _is_arm64(entry)]:
        raise FarmError(f"this machine runs arm64 already: {', '.join(others)} in {BINFMT}")
    entry = BINFMT / slot.name("arm64")
    emulator = artifacts.debs / "qemu-aarch64-static"
    # F: the emulator is opened now, so that no node and no container needs to have it.
    (BINFMT / "register").write_text(f":{entry.name}:M::{_MAGIC}:{_MASK}:{emulator}:F")
    try:
        yield
    finally:
        entry.write_text("-1")


def _is_arm64(entry: Path) -> bool:
    fixed = entry.name in ("register", "status")
    return not fixed and "enabled" in (said := entry.read_text()) and "0200b700" in said
