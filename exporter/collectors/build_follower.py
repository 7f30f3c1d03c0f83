"""Follows the builds of every builder of a node as they happen: no list is asked for twice.

One stream per builder stays open, over the connection that looks use as well. Of each (re)connect
the first thing is a whole list: it tells what really runs, and what ended meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import structlog

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.node import NodeClient
from exporter.builds import Builds
from exporter.collectors.base import failure
from exporter.collectors.build_ledger import Ledger
from exporter.collectors.builders import may_be_stale
from exporter.collectors.builds import as_build, is_canary, read_history
from exporter.collectors.runner import Clock, Outcome, unexpected
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Builder, Failure
from exporter.prunes import BuilderKey

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# What happens within so many seconds is told in one piece.
_GATHER = 0.2

# Seconds between tries to get a stream that was lost; and how long a good one lasts.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# A list that does not come in time is a long one on a slow line, where other looks need room.
_LONGEST_AFTER_TIMEOUT = 600.0
_GOOD = 30.0

# A daemon without history may be replaced by a newer one.
_ASK_AGAIN = 600.0

# BuildKit does not tell of an end that it can't store, as on a full disk. When nothing was heard
# for so long while builds run, the list is asked for anew.
_DOUBT = 300.0


@dataclass(eq=False, slots=True)
class _Watch:
    """One builder that is followed."""

    builder: Builder
    told: bool | None = None
    """Whether it keeps a history; ``None`` before it was first asked with success."""
    running: set[str] = field(default_factory=set)
    failure: Failure | None = None
    """Why there is no stream."""
    retry: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class BuildFollower:
    """The builds of one node's builders, counted in ``ledger`` and told to ``publish``.

    A stream that can't be had is the failure told; what it told before is kept. While all streams
    are open, and ``answers`` says that the node does, the last success is now. Which builders
    there are others learn: the list that they keep is looked at as often as reachability is.
    """

    def __init__(
        self,
        client: NodeClient,
        ledger: Ledger,
        clock: Clock,
        rng: Random,
        publish: Callable[[Outcome], None],
        answers: Callable[[], bool],
    ) -> None:
        self._client = client
        self._node = client.spec.name
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._publish = publish
        self._answers = answers
        self._watches: dict[Builder, _Watch] = {}
        self._builders: tuple[Builder, ...] = ()
        self._unlisted: Failure | None = None
        """Why it is not known which builders there are."""
        self._news = asyncio.Event()
        self._value: tuple[Builds, ...] = ()
        self._duration = 0.0
        self._timeouts = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            heard = True
            while True:
                await self._reconcile(group)
                if heard or self._unlisted or (self._failure is None and self._answers()):
                    self._tell()
                heard = await _set_within(self._news, self._client.spec.collect.reachability)
                if heard:
                    await asyncio.sleep(_GATHER)
                    self._news.clear()

    def look_again(self) -> None:
        """Try at once what is to be tried again later, and look which builders there are."""
        for watch in self._watches.values():
            watch.retry.set()
        self._news.set()

    # ------------------------------------------------------------------------ the builders

    async def _reconcile(self, group: asyncio.TaskGroup) -> None:
        """Follow the builders that run, and no others."""
        found = await self._look()
        if isinstance(found, Failure):
            self._unlisted = found
            return
        self._unlisted, self._builders = None, found
        running = [builder for builder in self._builders if builder.running]
        for builder in self._watches.keys() - set(running):
            task = self._watches.pop(builder).task
            assert task is not None
            task.cancel()
        self._ledger.keep(self._node, {builder.name for builder in self._builders})
        for builder in running:
            if builder not in self._watches:
                self._watches[builder] = watch = _Watch(builder)
                name = f"follow/{self._node}/{builder.name}"
                watch.task = group.create_task(self._follow(watch), name=name)

    async def _is_gone(self, builder: Builder, error: NodeError) -> bool:
        """Whether the builder is not there, or does not run, any more."""
        if not may_be_stale(error):
            return False
        found = await self._look(fresh=True)
        return not isinstance(found, Failure) and builder not in found

    async def _look(self, *, fresh: bool = False) -> tuple[Builder, ...] | Failure:
        """List the builders; or why it is not known which there are."""
        try:
            async with self._deadline("no list of builders"):
                return await self._client.builders(fresh=fresh)
        except NodeError as error:
            return failure(error)
        except Exception as bug:  # must not end the other collections
            log.exception("collector failed unexpectedly", collector="builds")
            return unexpected(bug)

    # ----------------------------------------------------------------------------- telling

    @property
    def _failure(self) -> Failure | None:
        failures = (watch.failure for watch in self._watches.values())
        return self._unlisted or next((found for found in failures if found), None)

    def _tell(self) -> None:
        watches = self._watches.values()
        found = self._failure
        if found is None and watches and all(watch.told is None for watch in watches):
            return  # the first answer is still to come
        value = tuple(builds for b in self._builders if (builds := self._of(b)) is not None)
        if value != self._value:
            self._value = value
        timeouts, self._timeouts = self._timeouts, 0
        self._publish(
            Outcome(
                "builds",
                self._value,
                found,
                finished=self._clock.now(),
                duration=self._duration,
                connects=self._client.transport.connects,
                timeouts=timeouts,
            )
        )

    def _of(self, builder: Builder) -> Builds | None:
        """What is known of a builder's builds; one that does not run keeps its totals."""
        watch = self._watches.get(builder)
        if watch is not None and watch.told is False:
            return Builds(builder.name, told=False)
        counts = self._ledger.counts(self._key(builder))
        if counts is None:
            return None
        running = len(watch.running) if watch is not None else 0
        return Builds(builder.name, told=True, running=running, counts=counts)

    def _key(self, builder: Builder) -> BuilderKey:
        return self._node, builder.name

    # --------------------------------------------------------------------------- following

    async def _follow(self, watch: _Watch) -> None:
        tries = 0
        while True:
            opened: float | None = None
            pause = 0.0
            try:
                await self._list(watch)
                opened = self._clock.monotonic()
                await self._listen(watch)
            except UnsupportedError:
                watch.told, watch.failure, pause = False, None, _ASK_AGAIN
            except NodeError as error:
                if opened is None and await self._is_gone(watch.builder, error):
                    self._news.set()
                    return
                watch.failure = failure(error)
            except Exception as bug:  # must not end the other collections of the node
                log.exception("collector failed unexpectedly", collector="builds")
                watch.failure = unexpected(bug)
            if opened is not None and self._clock.monotonic() - opened > _GOOD:
                # Connections end; that this one can't be had again is still to be seen.
                watch.failure, tries = None, 0
            tries += 1
            self._news.set()
            late = watch.failure is not None and watch.failure.reason is Reason.TIMEOUT
            most = _LONGEST_AFTER_TIMEOUT if late else _LONGEST_PAUSE
            longest = min(_FIRST_PAUSE * 2.0 ** min(tries, 10), most)
            await _set_within(watch.retry, pause or self._rng.uniform(_FIRST_PAUSE, longest))
            watch.retry.clear()

    async def _list(self, watch: _Watch) -> None:
        """Replace what is known to run; count what ended and is not counted yet."""
        control = self._client.control(watch.builder)
        began = self._clock.monotonic()
        try:
            async with self._deadline(f"no list of builds from builder {watch.builder.name}"):
                history = await read_history(control)
        finally:
            self._duration = self._clock.monotonic() - began
        self._ledger.listed(self._key(watch.builder), history.ended)
        watch.told, watch.failure = True, None
        watch.running = set(history.running)
        self._news.set()

    async def _listen(self, watch: _Watch) -> None:
        """Take the news as they come, until there is doubt about what still runs.

        :raises NodeError: when the stream ends.
        """
        loop = asyncio.get_running_loop()
        try:
            async with (
                asyncio.timeout(_DOUBT if watch.running else None) as quiet,
                aclosing(self._client.control(watch.builder).listen_history()) as events,
            ):
                async for event in events:
                    if self._take(watch, event):
                        self._news.set()
                    quiet.reschedule(loop.time() + _DOUBT if watch.running else None)
        except TimeoutError:
            return
        raise NodeError(
            Layer.BUILDKIT, Reason.BUILDKIT, f"builder {watch.builder.name} ended the stream"
        )

    def _take(self, watch: _Watch, event: pb.BuildHistoryEvent) -> bool:
        """Take one event, which may be old, or out of order; whether it changes anything."""
        record, key = event.record, self._key(watch.builder)
        if is_canary(record):
            return False
        before = len(watch.running)
        if event.type == pb.STARTED and not self._ledger.knows(key, record.Ref):
            watch.running.add(record.Ref)
        elif event.type != pb.STARTED:
            watch.running.discard(record.Ref)
        counted = event.type == pb.COMPLETE and self._ledger.ended(key, as_build(record))
        if event.type == pb.DELETED:
            self._ledger.removed(key, record.Ref)
        return counted or len(watch.running) != before

    @asynccontextmanager
    async def _deadline(self, what: str) -> AsyncIterator[None]:
        timeout = self._client.spec.collect.timeout
        try:
            async with asyncio.timeout(timeout):
                yield
        except TimeoutError as error:
            self._timeouts += 1
            raise NodeError(
                Layer.BUILDKIT, Reason.TIMEOUT, f"{what} within {timeout:g} s"
            ) from error


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; whether it was set in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
