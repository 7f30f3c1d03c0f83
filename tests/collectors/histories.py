"""Build histories of which the test says what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from exporter.buildkit import control_pb2 as pb
from exporter.builds import Build, BuildCounts
from exporter.collectors.build_ledger import Counted
from exporter.errors import StorageError
from exporter.prunes import BuilderKey
from tests.collectors.fakes import NOW, act

Event = pb.BuildHistoryEvent


def started(ref: str, **attributes: str) -> Event:
    """A build begins."""
    record = pb.BuildHistoryRecord(Ref=ref, FrontendAttrs=attributes, CreatedAt=_at(NOW))
    return Event(type=pb.STARTED, record=record)


def complete(
    ref: str,
    *,
    took: float = 4.0,
    steps: int = 6,
    cached: int = 2,
    error: str = "",
    **attributes: str,
) -> Event:
    """A build ended."""
    record = pb.BuildHistoryRecord(
        Ref=ref,
        FrontendAttrs=attributes,
        CreatedAt=_at(NOW),
        CompletedAt=_at(NOW + took),
        numTotalSteps=steps,
        numCachedSteps=cached,
        error=pb.RpcStatus(code=1, message=error) if error else None,
    )
    return Event(type=pb.COMPLETE, record=record)


def deleted(ref: str) -> Event:
    """A build is removed from the history."""
    return Event(type=pb.DELETED, record=pb.BuildHistoryRecord(Ref=ref))


def build(ref: str, **changes: Any) -> Build:
    """A build that ended as :func:`complete` has it."""
    values = {"duration": 4.0, "failed": False, "steps": 6, "cached": 2}
    return Build(ref=ref, **(values | changes))


def _at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds), nanos=round(seconds % 1 * 1e9))


class FakeBuildKit:
    """Stands for a :class:`Control`."""

    def __init__(self, *known: Event) -> None:
        self.known = list(known)
        """What it tells whoever connects."""
        self.refusal: Any = None
        self.lists: list[float] = []
        """When it was asked for one, by the loop's time."""
        self._listeners: list[asyncio.Queue[Event | Exception | None]] = []

    def tell(self, *news: Event | Exception | None) -> None:
        """Tell all who listen; an exception breaks the stream, nothing ends it in order."""
        for queue in self._listeners:
            for one in news:
                queue.put_nowait(one)

    async def listen_history(
        self, *, active_only: bool = False, early_exit: bool = False
    ) -> AsyncGenerator[Event, None]:
        if early_exit:
            self.lists.append(asyncio.get_running_loop().time())
        await act(self.refusal)
        for event in self.known:
            if event.type == pb.STARTED or not active_only:
                yield event
        if early_exit:
            return
        queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while (event_or_end := await queue.get()) is not None:
                if isinstance(event_or_end, Exception):
                    raise event_or_end
                yield event_or_end
        finally:
            self._listeners.remove(queue)


class FakeStore:
    """Stands for a database, and outlives those who use it."""

    def __init__(self) -> None:
        self.rows: dict[BuilderKey, Counted] = {}
        self.broken = False

    async def load(self) -> dict[BuilderKey, Counted]:
        self._check()
        return {key: (counts, set(refs)) for key, (counts, refs) in self.rows.items()}

    async def add(self, key: BuilderKey, builds: Any, uncounted: Any, forget: Any) -> None:
        self._check()
        counts, refs = self.rows.get(key, (BuildCounts(), set()))
        for build in builds:
            if build.ref not in refs:
                counts = counts.plus(build)
        refs = refs | {build.ref for build in builds} | set(uncounted)
        self.rows[key] = counts, refs - set(forget)

    async def remove(self, key: BuilderKey) -> None:
        self._check()
        self.rows.pop(key, None)

    def _check(self) -> None:
        if self.broken:
            raise StorageError("the disk is full")
