"""The history of prunes as the policy needs it: in memory, and written down as it happens.

A database that can't be written must not stop a prune: it may be the very disk that is full. So
memory leads; what could not be written is written as soon as it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from exporter.errors import StorageError
from exporter.prunes import LEASE, BuilderKey, Outcome, PruneRecord
from exporter.tolerant import TIMEOUT, Tolerant

BEAT = 10.0
"""How often, in seconds, a running prune is reported on."""

# Every node's pruner asks for a refresh; one serves them all.
_REFRESH = 3.0


class Store(Protocol):
    """Where prunes are written down. Methods may raise :class:`~exporter.errors.StorageError`."""

    async def save(self, record: PruneRecord) -> None:
        """Write a prune as it is now."""
        ...

    async def claim(self, record: PruneRecord, newer_than: float) -> bool:
        """Write a prune that starts, unless one of its builder runs or began after a time."""
        ...

    async def interrupt(self, unseen_since: float) -> None:
        """Close running prunes that were not reported on since."""
        ...

    async def latest(self, until: float | None = None) -> list[PruneRecord]:
        """Return the latest prune of each builder; of those that began until a time."""
        ...


class History:
    """The latest prune of each builder. One event loop owns it.

    ``on_end`` hears once of every prune that ends from now on: of this process, by hand, or of
    another daemon on the same store.
    """

    def __init__(
        self, store: Store, on_end: Callable[[PruneRecord], None] = lambda _: None
    ) -> None:
        self._store = store
        self._on_end = on_end
        self._unwritten: dict[str, PruneRecord] = {}
        self._own: set[str] = set()
        """Prunes of this process that run: nobody knows more of them."""
        self._tolerant = Tolerant("prunes")
        self._refreshed: float | None = None
        self.latest: dict[BuilderKey, PruneRecord] = {}

    async def load(self) -> None:
        """Learn what happened before this start.

        :raises StorageError: when the store can't be read.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._store.latest()
        except TimeoutError as error:
            raise StorageError("the history can't be read: no answer in time") from error
        self.latest = {record.key: record for record in found}

    async def refresh(self, now: float) -> None:
        """Catch up with the store: prunes by hand and of other daemons count as well."""
        if self._refreshed is not None and 0 <= now - self._refreshed < _REFRESH:
            return
        self._refreshed = now
        for record in await self._tolerant.do(partial(self._catch_up, now)) or ():
            mine = self.latest.get(record.key)
            if record.id not in self._own and (mine is None or _newer(record, mine)):
                self._learn(record)

    async def begin(self, record: PruneRecord) -> bool:
        """Note that a prune starts. False: somebody else began one of this builder just now."""
        before = self.latest.get(record.key)
        # At once, before anything is awaited: other nodes decide by it.
        self.latest[record.key] = record
        self._own.add(record.id)
        newer_than = before.started_at if before is not None else 0.0
        claimed: bool | None = False
        try:
            claimed = await self._tolerant.do(partial(self._store.claim, record, newer_than))
        finally:
            if claimed is False:
                self._own.discard(record.id)
                del self.latest[record.key]
                if before is not None:
                    self.latest[record.key] = before
        if claimed is None:
            self._unwritten[record.id] = record
        return claimed is not False

    async def save(self, record: PruneRecord) -> None:
        """Note how a prune of this process stands. Never fails."""
        if record.outcome is not Outcome.RUNNING:
            self._own.discard(record.id)
        # Before anything is awaited: a cancelled task's last words are not lost.
        self._learn(record)
        self._unwritten[record.id] = record
        await self._tolerant.do(self._write)

    async def _catch_up(self, now: float) -> list[PruneRecord]:
        await self._write()
        await self._store.interrupt(now - LEASE)
        return await self._store.latest(now + LEASE)

    async def _write(self) -> None:
        for record in list(self._unwritten.values()):
            await self._store.save(record)
            if self._unwritten.get(record.id) is record:
                del self._unwritten[record.id]

    def _learn(self, record: PruneRecord) -> None:
        self.latest[record.key] = record
        if record.outcome is not Outcome.RUNNING:
            self._on_end(record)


def _newer(one: PruneRecord, other: PruneRecord) -> bool:
    """Whether one tells more than the other: of a later prune, or later of the same."""
    if one.id != other.id:
        return one.started_at > other.started_at
    return other.outcome is Outcome.RUNNING and one != other and one.seen_at >= other.seen_at
