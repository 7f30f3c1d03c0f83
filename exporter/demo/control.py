"""BuildKit's Control API over a simulated builder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from exporter.buildkit import control_pb2 as pb
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.cache import PruneLimits, Record
from exporter.demo.filters import parse_filters
from exporter.demo.grpc import INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, UNKNOWN, Method, Refusal
from exporter.demo.history import timestamp
from exporter.demo.machine import Machine
from exporter.demo.solve import solve

SERVICE = "/moby.buildkit.v1.Control/"

# BuildKit takes about 15 s for 1,000 records; less of it keeps the demo lively.
_PRUNE_SECONDS = 0.003

# The first releases with Info, and with maxUsedSpace and minFreeSpace.
_INFO_SINCE = (0, 12)
_LIMITS_SINCE = (0, 17)

M = TypeVar("M", bound=Message)


class ControlService:
    """What one builder answers."""

    def __init__(self, machine: Machine, builder: SimulatedBuilder) -> None:
        self._machine = machine
        self._builder = builder
        self._usage: tuple[int, bytes] = (-1, b"")

    def methods(self) -> dict[str, Method]:
        """The methods by their path. An old daemon lacks some."""
        methods: dict[str, Method] = {
            "ListWorkers": self._list_workers,
            "DiskUsage": self._disk_usage,
            "Prune": self._prune,
            "Solve": self._solve,
            "Status": self._status,
        }
        if self._builder.release:
            methods["ListenBuildHistory"] = self._history
        if self._builder.release >= _INFO_SINCE:
            methods["Info"] = self._info
        return {SERVICE + name: method for name, method in methods.items()}

    def _info(self, data: bytes) -> bytes:
        _read(pb.InfoRequest, data)
        return pb.InfoResponse(buildkitVersion=self._version()).SerializeToString()

    def _version(self) -> pb.BuildkitVersion:
        return pb.BuildkitVersion(
            package="github.com/moby/buildkit", version=self._builder.plan.version
        )

    def _list_workers(self, data: bytes) -> bytes:
        _read(pb.ListWorkersRequest, data)
        name = self._machine.blueprint.name
        worker = pb.WorkerRecord(
            ID=f"{name}-{self._builder.name}",
            Labels={"org.mobyproject.buildkit.worker.hostname": name},
            platforms=[_platform(name) for name in self._machine.platforms],
            GCPolicy=self._gc_policy(),
            BuildkitVersion=self._version() if self._builder.release else None,
        )
        return pb.ListWorkersResponse(record=[worker]).SerializeToString()

    def _gc_policy(self) -> list[pb.GCPolicy]:
        keep = self._builder.plan.gc_keep
        if keep is None:
            return []
        if self._builder.release < _LIMITS_SINCE:
            return [pb.GCPolicy(all=True, reservedSpace=keep)]
        return [pb.GCPolicy(all=True, reservedSpace=keep // 4, maxUsedSpace=keep)]

    def _disk_usage(self, data: bytes) -> bytes:
        request = _read(pb.DiskUsageRequest, data)
        cache = self._builder.cache
        if request.filter:
            return self._usage_reply(request.filter)
        if self._usage[0] != cache.changes:
            self._usage = (cache.changes, self._usage_reply(()))
        return self._usage[1]

    def _usage_reply(self, filters: Sequence[str]) -> bytes:
        cache = self._builder.cache
        in_use = cache.in_use()
        wanted = _checked(lambda: parse_filters(filters))
        records = [
            record
            for record in cache.records.values()
            if wanted(record.fields(in_use=record.id in in_use))
        ]
        reply = pb.DiskUsageResponse(
            record=[self._usage_record(r, r.id in in_use) for r in records]
        )
        return reply.SerializeToString()

    def _usage_record(self, record: Record, in_use: bool) -> pb.UsageRecord:
        sent = pb.UsageRecord(
            ID=record.id,
            Mutable=record.mutable,
            InUse=in_use,
            Size=record.visible_size,
            CreatedAt=timestamp(record.created),
            LastUsedAt=timestamp(record.used) if record.used is not None else None,
            UsageCount=record.count,
            Description=record.description,
            RecordType=record.kind,
            Shared=record.shared,
        )
        if self._builder.release:
            sent.Parents.extend(record.parents)
        elif record.parents:
            sent.Parent = record.parents[0]
        return sent

    def _prune(self, data: bytes) -> AsyncIterator[bytes]:
        request = _read(pb.PruneRequest, data)
        self._builder.prunes.append(request)
        _checked(lambda: parse_filters(request.filter))
        return self._pruned(request)

    async def _pruned(self, request: pb.PruneRequest) -> AsyncIterator[bytes]:
        knows_limits = self._builder.release >= _LIMITS_SINCE
        limits = PruneLimits(
            all=request.all,
            keep_duration=request.keepDuration / 1e9,
            reserved=request.reservedSpace,
            # An older daemon skips fields that it does not know.
            max_used=request.maxUsedSpace if knows_limits else 0,
            min_free=request.minFreeSpace if knows_limits else 0,
            filters=tuple(request.filter),
        )
        machine = self._machine
        batches = self._builder.cache.prune(limits, machine.disk.available, machine.clock())
        for batch in batches:
            for record in batch:
                sent = self._usage_record(record, in_use=False)
                # BuildKit leaves these out of what it says of pruned records.
                sent.ClearField("RecordType")
                sent.ClearField("Shared")
                yield sent.SerializeToString()
            await asyncio.sleep(_PRUNE_SECONDS * len(batch))

    async def _solve(self, data: bytes) -> AsyncIterator[bytes]:
        """One answer, after a while. Who gives the call up gives the build up."""
        request = _read(pb.SolveRequest, data)
        try:
            with self._builder.jobs.begin(request.Ref) as job:
                await solve(self._machine, self._builder, job, request)
        except TimeoutError:
            raise Refusal(UNAVAILABLE, "error reading from server: EOF") from None
        except ValueError as error:
            raise Refusal(UNKNOWN, str(error)) from error
        yield pb.SolveResponse().SerializeToString()

    async def _status(self, data: bytes) -> AsyncIterator[bytes]:
        request = _read(pb.StatusRequest, data)
        try:
            job = await self._builder.jobs.find(request.Ref)
        except LookupError as error:
            raise Refusal(NOT_FOUND, str(error)) from error
        async for status in job.listen():
            yield status.SerializeToString()

    async def _history(self, data: bytes) -> AsyncIterator[bytes]:
        request = _read(pb.BuildHistoryRequest, data)
        async for event in self._builder.history.listen(request):
            yield event.SerializeToString()


def _read(kind: type[M], data: bytes) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Refusal(INVALID_ARGUMENT, f"not a {kind.__name__}: {error}") from error


T = TypeVar("T")


def _checked(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as error:
        raise Refusal(INVALID_ARGUMENT, f"failed to parse filters: {error}") from error


def _platform(name: str) -> pb.Platform:
    os, arch, variant = (*name.split("/"), "")[:3]
    return pb.Platform(OS=os, Architecture=arch, Variant=variant)
