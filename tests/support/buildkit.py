"""BuildKit's Control API served by grpclib, a peer that is not ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from exporter.buildkit import control_pb2 as pb

_SERVICE = "/moby.buildkit.v1.Control/"


@dataclass
class FakeControl:
    """Answers what its fields say, and keeps the requests.

    ``fails`` maps a method to the ``GRPCError`` it ends with, after its answers. A method that
    is in ``missing`` is not known. Of the filters only ``id==`` is understood.
    """

    records: list[pb.UsageRecord] = field(default_factory=list)
    workers: list[pb.WorkerRecord] = field(default_factory=list)
    events: list[pb.BuildHistoryEvent] = field(default_factory=list)
    fails: dict[str, BaseException] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    updates: list[pb.StatusResponse] = field(default_factory=list)
    filters: bool = True
    """Whether it takes notice of filters."""
    requests: list[Any] = field(default_factory=list)

    async def _serve(self, stream: Any, method: str, answers: list[Any]) -> None:
        await self._answer(stream, method, await stream.recv_message(), answers)

    async def _answer(self, stream: Any, method: str, request: Any, answers: list[Any]) -> None:
        self.requests.append(request)
        for answer in answers:
            await stream.send_message(answer)
        if method in self.fails:
            raise self.fails[method]

    async def _info(self, stream: Any) -> None:
        version = pb.BuildkitVersion(version="v0.32.2")
        answers = [] if "Info" in self.fails else [pb.InfoResponse(buildkitVersion=version)]
        await self._serve(stream, "Info", answers)

    async def _list_workers(self, stream: Any) -> None:
        await self._serve(stream, "ListWorkers", [pb.ListWorkersResponse(record=self.workers)])

    async def _disk_usage(self, stream: Any) -> None:
        request = await stream.recv_message()
        answer = pb.DiskUsageResponse(record=self._matching(request))
        await self._answer(stream, "DiskUsage", request, [answer])

    async def _prune(self, stream: Any) -> None:
        request = await stream.recv_message()
        await self._answer(stream, "Prune", request, self._matching(request))

    def _matching(self, request: pb.DiskUsageRequest | pb.PruneRequest) -> list[pb.UsageRecord]:
        wanted = {f.removeprefix("id==") for f in request.filter if f.startswith("id==")}
        return [r for r in self.records if r.ID in wanted or not wanted or not self.filters]

    async def _solve(self, stream: Any) -> None:
        await self._serve(stream, "Solve", [pb.SolveResponse()])

    async def _status(self, stream: Any) -> None:
        await self._serve(stream, "Status", self.updates)

    async def _history(self, stream: Any) -> None:
        await self._serve(stream, "ListenBuildHistory", self.events)

    def __mapping__(self) -> dict[str, Handler]:
        unary, streaming = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        methods = {
            "Info": Handler(self._info, unary, pb.InfoRequest, pb.InfoResponse),
            "ListWorkers": Handler(
                self._list_workers, unary, pb.ListWorkersRequest, pb.ListWorkersResponse
            ),
            "DiskUsage": Handler(
                self._disk_usage, unary, pb.DiskUsageRequest, pb.DiskUsageResponse
            ),
            "Prune": Handler(self._prune, streaming, pb.PruneRequest, pb.UsageRecord),
            "Solve": Handler(self._solve, unary, pb.SolveRequest, pb.SolveResponse),
            "Status": Handler(self._status, streaming, pb.StatusRequest, pb.StatusResponse),
            "ListenBuildHistory": Handler(
                self._history, streaming, pb.BuildHistoryRequest, pb.BuildHistoryEvent
            ),
        }
        return {_SERVICE + n: h for n, h in methods.items() if n not in self.missing}


class _Server(Server):
    """grpclib's server, which leaves its connections open when it is closed, knowing them."""

    def __init__(self, service: Any) -> None:
        super().__init__([service])
        self.protocols: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self.protocols.append(protocol)
        return protocol


@asynccontextmanager
async def grpc_server(service: Any, socket: Path) -> AsyncIterator[None]:
    """Serve on a unix socket."""
    server = _Server(service)
    await server.start(path=str(socket))
    try:
        yield
    finally:
        server.close()
        for protocol in server.protocols:
            protocol.connection.close()
        await server.wait_closed()
