"""A builder's build history, and those who listen to it (``ListenBuildHistory``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from random import Random

from google.protobuf.timestamp_pb2 import Timestamp

from exporter.buildkit import control_pb2 as pb

# BuildKit's own default.
_KEPT = 50

_UNKNOWN = 2


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as protobuf has them."""
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    return Timestamp(seconds=whole, nanos=part * 1000)


class History:
    """Builds that run, and the last of those that ended."""

    def __init__(self, rng: Random, clock: Callable[[], float]) -> None:
        self._rng = rng
        self._clock = clock
        self.active: dict[str, pb.BuildHistoryRecord] = {}
        self.past: dict[str, pb.BuildHistoryRecord] = {}
        self._listeners: set[asyncio.Queue[pb.BuildHistoryEvent]] = set()

    def start(
        self, attributes: Mapping[str, str], at: float | None = None, ref: str | None = None
    ) -> str:
        """Let a build of a Dockerfile begin, now or ``at`` some time before; its reference."""
        ref = ref or f"{self._rng.getrandbits(128):025x}"[-25:]
        self.active[ref] = pb.BuildHistoryRecord(
            Ref=ref,
            Frontend="dockerfile.v0",
            FrontendAttrs=attributes,
            CreatedAt=timestamp(self._clock() if at is None else at),
        )
        self._tell(pb.BuildHistoryEvent(type=pb.STARTED, record=self.active[ref]))
        return ref

    def complete(
        self, ref: str, steps: int, cached: int, error: str | None = None, at: float | None = None
    ) -> None:
        """Let a build end. One that fails has not done its last step."""
        record = self.active.pop(ref)
        record.CompletedAt.CopyFrom(timestamp(self._clock() if at is None else at))
        record.numTotalSteps = steps
        record.numCachedSteps = cached
        record.numCompletedSteps = steps if error is None else max(steps - 1, 0)
        if error is not None:
            record.error.CopyFrom(pb.RpcStatus(code=_UNKNOWN, message=error))
        self.past[ref] = record
        self._tell(pb.BuildHistoryEvent(type=pb.COMPLETE, record=record))
        while len(self.past) > _KEPT:
            self.delete(next(iter(self.past)))

    def amend(self, ref: str) -> None:
        """Tell of a build's end once more, as BuildKit does when it has stored its trace."""
        if ref in self.past:
            self._tell(pb.BuildHistoryEvent(type=pb.COMPLETE, record=self.past[ref]))

    def delete(self, ref: str) -> None:
        """Forget a build that ended."""
        del self.past[ref]
        record = pb.BuildHistoryRecord(Ref=ref)
        self._tell(pb.BuildHistoryEvent(type=pb.DELETED, record=record))

    def lose(self) -> None:
        """Forget what runs, untold: BuildKit has it in memory only."""
        self.active.clear()

    async def listen(
        self, request: pb.BuildHistoryRequest
    ) -> AsyncGenerator[pb.BuildHistoryEvent, None]:
        """Tell of what runs, of what ended, and then of all that happens.

        As in BuildKit, ``ActiveOnly`` leaves out what ended before, not what ends from now on.
        """
        queue: asyncio.Queue[pb.BuildHistoryEvent] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            for event in list(self._known(request)):
                yield event
            while not request.EarlyExit:
                event = await queue.get()
                if request.Ref in ("", event.record.Ref):
                    yield event
        finally:
            self._listeners.discard(queue)

    def _known(self, request: pb.BuildHistoryRequest) -> Iterator[pb.BuildHistoryEvent]:
        for record in self.active.values():
            if request.Ref in ("", record.Ref):
                yield pb.BuildHistoryEvent(type=pb.STARTED, record=record)
        if request.ActiveOnly:
            return
        past = [r for r in self.past.values() if request.Ref in ("", r.Ref)]
        for record in past[-request.Limit :]:
            yield pb.BuildHistoryEvent(type=pb.COMPLETE, record=record)

    def _tell(self, event: pb.BuildHistoryEvent) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)
