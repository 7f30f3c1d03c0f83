"""gRPC over a Duplex: grpclib does HTTP/2, its bytes go through our stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.protocol import H2Protocol

from exporter.errors import NodeError
from exporter.transports.duplex import Duplex

_CHUNK = 65536

# A list of some ten thousand cache records comes in one message of a few megabytes: with
# HTTP/2's own window of 64 KiB it would take a round trip for every piece.
_WINDOW = 4 * 1024 * 1024


class DuplexChannel(Channel):
    """A grpclib channel whose connection is a Duplex, opened at the first call.

    ``failure`` is why the stream broke, when the stream itself said so.
    """

    def __init__(self, dial: Callable[[], Awaitable[Duplex]], name: str) -> None:
        config = Configuration(
            http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW
        )
        super().__init__("buildkitd", 0, config=config)
        self._dial = dial
        self._name = name
        self.failure: NodeError | None = None

    async def _create_connection(self) -> H2Protocol:
        duplex = await self._dial()
        self.failure = None
        protocol: H2Protocol = self._protocol_factory()
        transport = _DuplexTransport(duplex, protocol, self._keep_failure)
        protocol.connection_made(transport)
        transport.start(self._name)
        return protocol

    def _keep_failure(self, error: NodeError) -> None:
        self.failure = error


class _DuplexTransport(asyncio.Transport):
    """What grpclib's protocol takes for a socket's transport.

    Owns the task that reads from the stream; the task ends with the stream or by ``close``.
    Our requests are small, so nothing holds grpclib back while the stream's buffer drains.
    The frames that grpclib writes one by one are joined: over SSH each write is a packet.
    """

    def __init__(
        self, duplex: Duplex, protocol: H2Protocol, on_failure: Callable[[NodeError], None]
    ) -> None:
        super().__init__()
        self._duplex = duplex
        self._protocol = protocol
        self._on_failure = on_failure
        self._closing = False
        self._reader: asyncio.Task[None] | None = None
        self._frames: list[bytes] = []

    def start(self, name: str) -> None:
        self._reader = asyncio.create_task(self._read(), name=name)

    async def _read(self) -> None:
        error: NodeError | None = None
        try:
            while data := await self._duplex.read(_CHUNK):
                self._protocol.data_received(data)
        except NodeError as failure:
            error = failure
            self._on_failure(failure)
        finally:
            self._closing = True
            self._duplex.close()
            self._protocol.connection_lost(error)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        if not self._frames:
            asyncio.get_running_loop().call_soon(self._flush)
        self._frames.append(bytes(data))

    def _flush(self) -> None:
        frames, self._frames = self._frames, []
        if not self._closing:
            self._duplex.write(b"".join(frames))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._duplex.close()
            if self._reader is not None:
                self._reader.cancel()

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default
