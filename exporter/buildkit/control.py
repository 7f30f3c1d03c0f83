"""A client of BuildKit's Control API, the same for every kind of builder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.channel import Channel
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.transports.duplex import Duplex

Reply = TypeVar("Reply", bound=Message)

_SERVICE = "/moby.buildkit.v1.Control"


class Control:
    """One BuildKit daemon, reached by ``dial``. The connection is kept, and made again when lost.

    No method has a deadline: the caller sets one. Errors are
    :class:`~exporter.errors.NodeError` of the layer buildkit, or of a lower one when ``dial``
    failed there.
    """

    def __init__(self, dial: Callable[[], Awaitable[Duplex]], name: str) -> None:
        self._dial = dial
        self._name = name
        self._channel: Channel | None = None
        self._dialling = asyncio.Lock()

    async def info(self) -> pb.InfoResponse:
        """Ask for the daemon's version (``Info``, since BuildKit 0.12).

        :raises UnsupportedError: by an older daemon, which thereby answered.
        """
        return await self._call("Info", pb.InfoRequest(), pb.InfoResponse)

    async def list_workers(self) -> list[pb.WorkerRecord]:
        """List the workers (``ListWorkers``); a daemon nearly always has one."""
        request = pb.ListWorkersRequest()
        return list((await self._call("ListWorkers", request, pb.ListWorkersResponse)).record)

    async def disk_usage(self, filters: Sequence[str] = ()) -> list[pb.UsageRecord]:
        """List the cache's records (``DiskUsage``), those shared with images too."""
        request = pb.DiskUsageRequest(filter=filters)
        return list((await self._call("DiskUsage", request, pb.DiskUsageResponse)).record)

    async def prune(
        self,
        keep_bytes: int,
        *,
        all: bool = False,  # noqa: A002 - BuildKit's and the command line's own word
        filters: Sequence[str] = (),
        empty: bool = False,
    ) -> AsyncGenerator[pb.UsageRecord, None]:
        """Shrink the cache to ``keep_bytes``, least recently used first; yield what is removed.

        Only the field that every version of BuildKit takes for "keep so much" is ever sent: the
        later ones are ignored by older daemons, to which the request then means "remove all".

        :raises ValueError: without ``empty`` for a size that means the same.
        """
        if keep_bytes <= 0 and not empty:
            raise ValueError(f"keeping {keep_bytes} bytes would empty the cache; say so by empty")
        request = pb.PruneRequest(filter=filters, all=all, reservedSpace=0 if empty else keep_bytes)
        async with aclosing(self._stream("Prune", request, pb.UsageRecord)) as records:
            async for record in records:
                yield record

    def listen_history(
        self, *, active_only: bool = False, early_exit: bool = False
    ) -> AsyncGenerator[pb.BuildHistoryEvent, None]:
        """Tell of the builds (``ListenBuildHistory``): those that run, those that ended, then news.

        ``active_only`` leaves out those that ended before, ``early_exit`` the news. A build that
        ended is told of twice: the second time its trace is stored too. News may come in any order.

        :raises UnsupportedError: by a daemon that keeps no history (before 0.11).
        """
        request = pb.BuildHistoryRequest(ActiveOnly=active_only, EarlyExit=early_exit)
        return self._stream("ListenBuildHistory", request, pb.BuildHistoryEvent)

    async def running_builds(self) -> int | None:
        """Count the builds under way; ``None`` from a daemon that does not tell (before 0.11)."""
        refs = set()
        try:
            async with aclosing(self.listen_history(active_only=True, early_exit=True)) as events:
                async for event in events:
                    if event.type == pb.STARTED:
                        refs.add(event.record.Ref)
                    else:
                        refs.discard(event.record.Ref)
        except UnsupportedError:
            return None
        return len(refs)

    async def remove(self, ids: Collection[str]) -> set[str]:
        """Remove exactly these cache records, of whatever type; return which went.

        Those in use, and those that others are made of, stay. The request means "no limit" to
        every version, so all depends on its filters: they are tried out before.

        :raises ValueError: without any, which would be no filter.
        :raises UnsupportedError: by a daemon that does not filter by ID; nothing was removed.
        """
        if not ids:
            raise ValueError("no cache records to remove: that would remove all")
        wanted = set(ids)
        if not all(record.isalnum() for record in wanted):
            raise self._unfiltered("has records with IDs that can't be filtered by")
        found = {r.ID for r in await self.disk_usage([f"id=={record}" for record in wanted])}
        if not found <= wanted:
            raise self._unfiltered("does not filter its records by ID")
        if not found:
            return set()
        request = pb.PruneRequest(filter=[f"id=={record}" for record in found], all=True)
        async with aclosing(self._stream("Prune", request, pb.UsageRecord)) as records:
            return {record.ID async for record in records}

    def _unfiltered(self, what: str) -> UnsupportedError:
        said = f"{self._name}: the daemon {what}; no record is removed"
        return UnsupportedError(Layer.BUILDKIT, Reason.PROTOCOL, said)

    async def solve(self, request: pb.SolveRequest) -> pb.SolveResponse:
        """Build (``Solve``), to the end. The daemon gives the build up when this is cancelled."""
        return await self._call("Solve", request, pb.SolveResponse)

    def status(self, ref: str) -> AsyncGenerator[pb.StatusResponse, None]:
        """Follow the build of this reference (``Status``), from its start to its end.

        The daemon waits a few seconds for a build that has not started.
        """
        return self._stream("Status", pb.StatusRequest(Ref=ref), pb.StatusResponse)

    async def _call(self, method: str, request: Message, kind: type[Reply]) -> Reply:
        channel = await self._connected()
        data = await channel.unary(f"{_SERVICE}/{method}", request.SerializeToString())
        return self._parse(method, kind, data)

    async def _stream(
        self, method: str, request: Message, kind: type[Reply]
    ) -> AsyncGenerator[Reply, None]:
        channel = await self._connected()
        replies = channel.stream(f"{_SERVICE}/{method}", request.SerializeToString())
        async with aclosing(replies):
            async for data in replies:
                yield self._parse(method, kind, data)

    def _parse(self, method: str, kind: type[Reply], data: bytes) -> Reply:
        try:
            return kind.FromString(data)
        except DecodeError as error:
            raise NodeError(
                Layer.BUILDKIT, Reason.PROTOCOL, f"{self._name}: {method}: not the message expected"
            ) from error

    async def _connected(self) -> Channel:
        channel = self._channel
        if channel is None or not channel.usable:
            async with self._dialling:
                channel = self._channel
                if channel is None or not channel.usable:
                    channel = self._channel = Channel(await self._dial(), self._name)
        return channel

    def close(self) -> None:
        """Give the connection up."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
