"""Pruning one builder's cache: asked of BuildKit, followed record by record, measured after.

``Control.Prune`` holds BuildKit's cache lock, and a client that goes away in the middle has been
seen to leave a daemon that answers no more. So a prune is never cut short by a deadline: silence is
reported, and only where the daemon answers nothing else either is it given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from exporter.buildkit.control import Control
from exporter.buildkit.records import own, size_of, total
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Disk
from exporter.prunes import Measure, PruneRequest
from exporter.words import duration

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

SILENCE = 60.0
"""Seconds without a record after which a prune is reported as stalled."""

PATIENCE = 300.0
"""Seconds in which a daemon with a stalled prune must answer another question."""

_SETTLE_STEP = 0.5
_SETTLE_TIME = 10.0
_MEASURE_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prune is."""

    reclaimed: int = 0
    """Bytes of the records removed so far."""
    records: int = 0
    escalated: bool = False
    stalled: bool = False
    """Nothing was heard for long; nothing else is wrong yet."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Cache and disk at one moment. ``None``: it could not be told."""

    measure: Measure
    own: int | None
    """Bytes of the records that no image shares."""
    disk: Disk | None


class Prune:
    """One prune of one builder, over a connection of its own.

    ``look_at_disk`` looks at the node's filesystem; ``still_due`` judges afterwards, by the bytes
    that are not shared and the disk, whether what made the prune due is still there. Without it
    (a prune by hand) there is one pass and no verdict.
    """

    def __init__(
        self,
        control: Control,
        request: PruneRequest,
        look_at_disk: Callable[[], Awaitable[Disk]],
        still_due: Callable[[int, Disk], bool] | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._control = control
        self._request = request
        self._look_at_disk = look_at_disk
        self._still_due = still_due
        self._on_progress = on_progress
        self._dead = False
        self.progress = Progress()

    async def run(self, before: Measure) -> tuple[Measure, bool | None]:
        """Prune, wait until the filesystem shows it, and once more if that freed too little.

        Returns what was measured afterwards, and whether it was enough (``None``: not known).

        :raises NodeError: when BuildKit refuses, or the connection to it breaks.
        """
        await self._one_pass(self._request)
        found = await self._settled(before)
        enough = self._judge(found)
        # BuildKit stops at what to keep: with less than that, another pass would do nothing.
        more = enough is False and (found.own or 0) > self._request.keep
        if more and not (self._request.all or self._request.filters):
            log.info("freed too little; prunes internal and frontend records too")
            self._report(escalated=True)
            await self._one_pass(replace(self._request, all=True))
            found = await self._settled(found.measure)
            enough = self._judge(found)
        return found.measure, enough

    async def measure(self) -> Measured:
        """Look at disk and cache. What can't be told is ``None``: the prune goes on without."""
        disk = await _told(self._look_at_disk, "disk")
        records = await _told(self._control.disk_usage, "cache")
        cache = total(records) if records is not None else None
        available = disk.available if disk else None
        inodes_free = disk.inodes_free if disk else None
        return Measured(
            Measure(cache, available, inodes_free),
            own(records) if records is not None else None,
            disk,
        )

    async def _one_pass(self, request: PruneRequest) -> None:
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(self._watch(limit), name="prune/watch")
                try:
                    await self._follow(request)
                finally:
                    watch.cancel()
                    await asyncio.wait([watch])
        except (NodeError, TimeoutError) as error:
            if not self._dead:
                raise
            detail = f"BuildKit fell silent, and answers nothing else for {duration(PATIENCE)}"
            raise NodeError(Layer.BUILDKIT, Reason.TIMEOUT, detail) from error

    async def _follow(self, request: PruneRequest) -> None:
        stream = self._control.prune(
            request.keep, all=request.all, filters=request.filters, empty=request.empty
        )
        async with aclosing(stream) as records:
            async for record in records:
                self._report(
                    reclaimed=self.progress.reclaimed + size_of(record),
                    records=self.progress.records + 1,
                )

    async def _watch(self, limit: asyncio.Timeout) -> None:
        """Report silence, and give up a daemon that is dead: else it would never end.

        A daemon at work on a large record answers other questions meanwhile.
        """
        while True:
            records = self.progress.records
            await asyncio.sleep(SILENCE)
            if self.progress.records != records:
                continue
            if not self.progress.stalled:
                log.warning("the prune makes no progress", seconds=SILENCE)
                self._report(stalled=True)
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._control.list_workers()
            except NodeError:
                continue  # an answer all the same, or a lost connection, which ends the prune
            except TimeoutError:
                self._dead = True
                limit.reschedule(asyncio.get_running_loop().time())
                return

    def _report(self, **changes: int | bool) -> None:
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]
        self._on_progress(self.progress)

    async def _settled(self, before: Measure) -> Measured:
        """Measure when the filesystem stands still: space comes back a moment after the answer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _SETTLE_TIME
        disk = await _told(self._look_at_disk, "disk")
        while disk is not None and loop.time() < end:
            await asyncio.sleep(_SETTLE_STEP)
            last, disk = disk, await _told(self._look_at_disk, "disk")
            if disk is None or (_free(disk) == _free(last) and self._shows(disk, before)):
                break
        return await self.measure()

    def _shows(self, disk: Disk, before: Measure) -> bool:
        """Whether the filesystem shows that something was removed, if it was."""
        if not self.progress.reclaimed or before.available is None:
            return True
        return disk.available > before.available

    def _judge(self, found: Measured) -> bool | None:
        if self._still_due is None or found.own is None or found.disk is None:
            return None
        return not self._still_due(found.own, found.disk)


def _free(disk: Disk) -> tuple[int, int]:
    return disk.available, disk.inodes_free


async def _told(ask: Callable[[], Awaitable[T]], what: str) -> T | None:
    """Ask, and do without the answer if there is none in time."""
    try:
        async with asyncio.timeout(_MEASURE_TIMEOUT):
            return await ask()
    except (NodeError, TimeoutError) as error:
        said = str(error) or "no answer in time"
        log.warning("can't measure what a prune does", what=what, error=said)
        return None
