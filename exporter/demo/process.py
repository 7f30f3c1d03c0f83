"""A command's work, done in the time that the machine takes for it, on the disk that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from exporter.demo import shell
from exporter.demo.cache import CacheStore, Mount
from exporter.demo.machine import Machine

# A file grows in so many parts.
_PARTS = 10


class ProcessError(Exception):
    """A process ended with an exit code other than 0."""

    def __init__(self, status: int, said: str = "") -> None:
        super().__init__(said)
        self.status = status
        self.said = said


def mount_of(path: str, mounts: Mapping[str, Mount]) -> str:
    """Say which mount a file is in. ``/`` need not be among them."""
    inside = (at for at in mounts if path.startswith(f"{at.rstrip('/')}/"))
    return max(inside, key=len, default="/")


async def perform(
    acts: Sequence[shell.Act],
    mounts: Mapping[str, Mount],
    platform: str,
    machine: Machine,
    cache: CacheStore,
) -> None:
    """Do what a program for a platform does, with records of a cache mounted.

    :raises ProcessError: when the disk is full.
    """
    for act in acts:
        match act:
            case shell.Hash(size):
                await asyncio.sleep(machine.hashing(size, platform))
            case shell.Sleep(seconds):
                await asyncio.sleep(seconds)
            case shell.Remove(path):
                # A file of a layer below is only hidden.
                mount = mounts[mount_of(path, mounts)]
                cache.grow(mount.record, -mount.files.pop(path, 0))
            case shell.Write(path):
                mount = mounts[mount_of(path, mounts)]
                before = mount.files.get(path, 0)
                growth, seconds = act.length(before) - before, machine.writing(act.size)
                for part in range(1, _PARTS + 1):
                    grown = before + growth * part // _PARTS - mount.files.get(path, 0)
                    if grown > machine.disk.available:
                        raise ProcessError(1, f"error writing '{path}': No space left on device")
                    await asyncio.sleep(seconds / _PARTS)
                    cache.grow(mount.record, grown)
                    mount.files[path] = mount.files.get(path, 0) + grown
