"""A client of BuildKit's Control API, the same for every kind of builder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import h2.exceptions
from grpclib.client import UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.channel import DuplexChannel
from exporter.errors import Layer, NodeError, Reason, RemoteError, UnsupportedError
from exporter.transports.duplex import Duplex

_SERVICE = "/moby.buildkit.v1.Control"


class Control:
    """One BuildKit daemon, reached by ``dial``. The stream is kept and made again when it broke.

    No method has a deadline: the caller sets one. Errors are
    :class:`~exporter.errors.NodeError` of the layer buildkit, or of a lower one when ``dial``
    failed there.
    """

    def __init__(self, dial: Callable[[], Awaitable[Duplex]], name: str) -> None:
        self._dial = dial
        self._name = name
        self._channel: DuplexChannel | None = None

    async def info(self) -> pb.InfoResponse:
        """Ask for the daemon's version (``Info``, since BuildKit 0.12).

        :raises UnsupportedError: by an older daemon, which thereby answered.
        """
        reply: pb.InfoResponse = await self._call("Info", pb.InfoRequest(), pb.InfoResponse)
        return reply

    async def list_workers(self) -> list[pb.WorkerRecord]:
        """List the workers (``ListWorkers``); a daemon nearly always has one."""
        reply: pb.ListWorkersResponse = await self._call(
            "ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse
        )
        return list(reply.record)

    async def disk_usage(self) -> list[pb.UsageRecord]:
        """List the cache's records (``DiskUsage``), those shared with images too."""
        reply: pb.DiskUsageResponse = await self._call(
            "DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse
        )
        return list(reply.record)

    async def _call(self, method: str, request: Any, reply_type: type[Any]) -> Any:
        if self._channel is None:
            self._channel = DuplexChannel(self._dial, f"buildkit/{self._name}")
        channel = self._channel
        call = UnaryUnaryMethod[Any, Any](
            channel, f"{_SERVICE}/{method}", type(request), reply_type
        )
        try:
            return await call(request)
        except GRPCError as error:
            raise self._remote(method, error) from error
        except (StreamTerminatedError, h2.exceptions.ProtocolError, OSError) as error:
            self.close()
            if channel.failure is not None:
                raise channel.failure from error
            raise NodeError(
                Layer.BUILDKIT, Reason.BUILDKIT, f"{self._name}: BuildKit ended the connection"
            ) from error
        except (NodeError, asyncio.CancelledError):
            # After a deadline nothing is known of the stream; the next call opens another.
            self.close()
            raise

    def _remote(self, method: str, error: GRPCError) -> NodeError:
        said = f"{self._name}: {method}: {error.message or error.status.name}"
        if error.status is Status.UNIMPLEMENTED:
            return UnsupportedError(Layer.BUILDKIT, Reason.BUILDKIT, said)
        refused = error.status in (Status.PERMISSION_DENIED, Status.UNAUTHENTICATED)
        reason = Reason.PERMISSION if refused else Reason.BUILDKIT
        return RemoteError(Layer.BUILDKIT, reason, said, error.status.value)

    def close(self) -> None:
        """Give the stream up."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
