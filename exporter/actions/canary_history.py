"""What canary builds came to: the latest in memory, all of them in the store.

A database that can't be written must not stop canary builds: memory leads, and what could not be
written is written as soon as it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from exporter.canaries import CanaryKey, CanaryRecord, MultiarchRecord
from exporter.errors import StorageError
from exporter.tolerant import TIMEOUT, Tolerant

# More are not kept for a database that may never come back.
_MOST_UNWRITTEN = 1000

# Canaries by hand and of other daemons are looked for so far back: longer than any takes.
_LOOK_BACK = 3600.0

AT_START = 30 * 86400.0
"""Seconds. What was built longer ago says nothing of a builder, and is not read at the start."""


class Store(Protocol):
    """Where canary builds are written down. Methods may raise StorageError."""

    async def save(self, record: CanaryRecord) -> None:
        """Write a build, or why there was none. Writing it again is safe."""
        ...

    async def save_multiarch(self, record: MultiarchRecord) -> None:
        """Write a build over the whole farm. Writing it again is safe."""
        ...

    async def latest(self, since: float = 0.0) -> list[CanaryRecord]:
        """Return the latest build of each kind that began since then, the skipped left out."""
        ...


class CanaryHistory:
    """The latest build of each platform on each builder. One event loop owns it.

    The two functions hear once of every build that ended, or was skipped, from now on: of this
    process, by hand, or of another daemon on the same store.
    """

    def __init__(
        self,
        store: Store,
        on_end: Callable[[CanaryRecord], None],
        on_multiarch_end: Callable[[MultiarchRecord], None],
    ) -> None:
        self._store = store
        self._on_end = on_end
        self._on_multiarch_end = on_multiarch_end
        self._reading = Tolerant("canaries", "read")
        self._writing = Tolerant("canaries")
        self._unwritten: dict[str, Callable[[], Awaitable[None]]] = {}
        """What is still to be done with the store, by the record's ID."""
        self.latest: dict[CanaryKey, CanaryRecord] = {}
        """Those that were skipped are left out."""

    async def load(self, now: float) -> None:
        """Learn what happened before this start.

        :raises StorageError: when the store can't be read.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._store.latest(now - AT_START)
        except TimeoutError as error:
            raise StorageError("the canary builds can't be read: no answer in time") from error
        self.latest = {record.key: record for record in found}

    async def refresh(self, now: float) -> None:
        """Catch up with the store: canaries by hand and of other daemons count as well."""
        await self.write()
        for record in await self._reading.do(lambda: self._store.latest(now - _LOOK_BACK)) or ():
            mine = self.latest.get(record.key)
            if mine is None or record.started_at > mine.started_at:
                self._learn(record)

    async def note(self, record: CanaryRecord) -> None:
        """Note what a build of this process came to. Never fails."""
        self._learn(record)
        await self._save(record.id, partial(self._store.save, record))

    async def note_multiarch(self, record: MultiarchRecord) -> None:
        """Note what a build over the whole farm came to. Never fails."""
        self._on_multiarch_end(record)
        await self._save(record.id, partial(self._store.save_multiarch, record))

    async def write(self) -> None:
        """Write what could not be written before, in bounded time. Never fails."""
        await self._writing.do(self._write)

    def _learn(self, record: CanaryRecord) -> None:
        if record.success is not None:
            self.latest[record.key] = record
        self._on_end(record)

    async def _save(self, id_: str, write: Callable[[], Awaitable[None]]) -> None:
        # Before anything is awaited: what a cancelled task has built is not lost.
        self._unwritten[id_] = write
        for oldest in list(self._unwritten)[:-_MOST_UNWRITTEN]:
            del self._unwritten[oldest]
        await self.write()

    async def _write(self) -> None:
        failed: StorageError | None = None
        for id_, write in list(self._unwritten.items()):
            # Behind the others: should it hang, they come first the next time.
            self._unwritten.pop(id_, None)
            self._unwritten[id_] = write
            try:
                await write()
            except StorageError as error:
                failed = error
            else:
                self._unwritten.pop(id_, None)
        if failed is not None:
            raise failed
