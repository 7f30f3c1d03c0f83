"""Which builds were counted, and what they add up to: in memory, and written down soon after.

Each build is counted once, whoever tells of it again, for its reference is written down together
with the totals it is part of. A daemon that is killed in between counts it from BuildKit's
history at its next start.

Builds that had ended when a builder was first met are not counted: nobody knows what became of
them in between. So are, without a store, those that end while no daemon runs. With one these are
counted later, as far back as BuildKit's history goes: 48 hours, and 50 builds at least.

A builder that is made anew under its name goes on counting where it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from exporter.builds import Build, BuildCounts
from exporter.errors import StorageError
from exporter.prunes import BuilderKey
from exporter.tolerant import TIMEOUT, Tolerant

# What comes together is written together, so many seconds later.
_GATHER = 1.0
_TRY_AGAIN = 15.0

# More are not kept for a database that may never come back, of each builder.
_MOST_UNWRITTEN = 10_000

# News may come in any order: so many builds of a builder are known after it told of their removal.
_REMOVED_KNOWN = 256

# So many builders of a node are known after they are gone: CI jobs may make one each.
_GONE_KNOWN = 32

Counted = tuple[BuildCounts, set[str]]
"""What builds add up to, and the references of those among them that may be told of again."""


class Store(Protocol):
    """Where builds are written down. Methods may raise :class:`~exporter.errors.StorageError`."""

    async def load(self) -> dict[BuilderKey, Counted]:
        """Return what is known of each builder."""
        ...

    async def add(
        self,
        key: BuilderKey,
        builds: Collection[Build],
        uncounted: Collection[str],
        forget: Collection[str],
    ) -> None:
        """Make a builder known, and add builds to its totals that are not in them yet.

        ``uncounted``: references of builds that are never to be counted. ``forget``: those of
        builds that nobody will tell of again.
        """
        ...

    async def remove(self, key: BuilderKey) -> None:
        """Forget a builder."""
        ...


class Nowhere:
    """Stands for a store where there is none."""

    async def load(self) -> dict[BuilderKey, Counted]:
        """Know nothing."""
        return {}

    async def add(
        self,
        key: BuilderKey,
        builds: Collection[Build],
        uncounted: Collection[str],
        forget: Collection[str],
    ) -> None:
        """Let it go."""

    async def remove(self, key: BuilderKey) -> None:
        """Let it go."""


@dataclass(slots=True)
class _Account:
    """What is known of one builder."""

    counts: BuildCounts = field(default_factory=BuildCounts)
    known: set[str] = field(default_factory=set)
    """References that are not to be counted again."""
    listed: bool = False
    """Whether its history was read since the start."""
    removed: deque[str] = field(default_factory=deque)
    """Those of ``known`` that BuildKit removed, the last ones."""
    written: bool = False
    unwritten: dict[str, Build | None] = field(default_factory=dict)
    """By reference, what is to be added to the store; ``None``: not to be counted."""
    unforgotten: set[str] = field(default_factory=set)
    """References that the store is still to forget."""

    @property
    def behind(self) -> bool:
        """Whether the store is."""
        return bool(self.unwritten or self.unforgotten) or not self.written

    def count(self, build: Build) -> bool:
        if build.ref in self.known:
            return False
        self.known.add(build.ref)
        self.counts = self.counts.plus(build)
        self.unwritten[build.ref] = build
        while len(self.unwritten) > _MOST_UNWRITTEN:
            del self.unwritten[next(iter(self.unwritten))]
        return True

    def forget(self, refs: Iterable[str]) -> None:
        self.known.difference_update(refs)
        self.unforgotten.update(refs)


class Ledger:
    """The builds of all builders that were counted. One event loop owns it."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Nowhere()
        self._tolerant = Tolerant("builds")
        self._accounts: dict[BuilderKey, _Account] = {}
        """The one that was listed last is the last one."""
        self._unremoved: set[BuilderKey] = set()
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Learn what was counted before this start.

        :raises StorageError: when the store can't be read.
        """
        try:
            async with asyncio.timeout(TIMEOUT):
                found = await self._store.load()
        except TimeoutError as error:
            raise StorageError("counted builds can't be read: no answer in time") from error
        self._accounts = {
            key: _Account(counts, known, written=True) for key, (counts, known) in found.items()
        }

    def counts(self, key: BuilderKey) -> BuildCounts | None:
        """What a builder's builds add up to; ``None`` before its history was first read.

        So no total is ever shown that is behind what was shown before this start.
        """
        account = self._accounts.get(key)
        return account.counts if account is not None and account.listed else None

    def knows(self, key: BuilderKey, ref: str) -> bool:
        """Whether that build's end is known."""
        return key in self._accounts and ref in self._accounts[key].known

    def listed(self, key: BuilderKey, ended: Collection[Build]) -> None:
        """Take all the builds that a builder still knows the end of."""
        refs = {build.ref for build in ended}
        account = self._accounts.pop(key, None)
        if account is None:
            account = _Account(known=refs, unwritten=dict.fromkeys(refs))
        else:
            for build in ended:
                account.count(build)
            account.forget(account.known - refs)
            account.removed.clear()
        account.listed = True
        self._accounts[key] = account
        self._changed.set()

    def ended(self, key: BuilderKey, build: Build) -> bool:
        """Count a build of a builder that was listed, unless it was counted; whether it was not."""
        new = self._accounts[key].count(build)
        if new:
            self._changed.set()
        return new

    def removed(self, key: BuilderKey, ref: str) -> None:
        """Note that a builder removed a build from its history."""
        account = self._accounts[key]
        account.removed.append(ref)
        if len(account.removed) > _REMOVED_KNOWN:
            account.forget([account.removed.popleft()])
            self._changed.set()

    def keep(self, node: str, builders: Collection[str]) -> None:
        """Note which builders a node has. Of those that are gone only the last are remembered."""
        gone = [key for key in self._accounts if key[0] == node and key[1] not in builders]
        for key in gone[:-_GONE_KNOWN]:
            del self._accounts[key]
            self._unremoved.add(key)
            self._changed.set()

    async def run(self) -> None:
        """Write down what is counted, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(_GATHER)
            if not await self.write():
                self._changed.set()
                await asyncio.sleep(_TRY_AGAIN)

    async def write(self) -> bool:
        """Write down what is not yet; whether that is all of it now. Never fails."""
        for key in list(self._unremoved):
            if not await self._tolerant.do(partial(self._remove, key)):
                return False
        for key, account in list(self._accounts.items()):
            if account.behind and not await self._tolerant.do(partial(self._add, key, account)):
                return False
        return True

    async def _remove(self, key: BuilderKey) -> bool:
        await self._store.remove(key)
        self._unremoved.discard(key)
        return True

    async def _add(self, key: BuilderKey, account: _Account) -> bool:
        unwritten = dict(account.unwritten)
        builds = [build for build in unwritten.values() if build is not None]
        uncounted = [ref for ref, build in unwritten.items() if build is None]
        # Not those of this same write: it may be done again, and must then find them.
        forget = account.unforgotten - unwritten.keys()
        await self._store.add(key, builds, uncounted, forget)
        account.written = True
        account.unforgotten -= forget
        for ref in unwritten:
            account.unwritten.pop(ref, None)
        return True
