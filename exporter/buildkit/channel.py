"""gRPC calls over one HTTP/2 connection: one request, one reply or a stream of them."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import cache
from urllib.parse import unquote

from exporter.buildkit.frames import request_headers
from exporter.buildkit.http2 import WINDOW, Http2Connection
from exporter.errors import Layer, NodeError, Reason, RemoteError, UnsupportedError
from exporter.transports.duplex import Duplex

_FIELDS = {
    "content-type": "application/grpc",
    "te": "trailers",
    "user-agent": "buildfarm-exporter",
}

_PREFIX = struct.Struct(">BL")

# Ten times what a list of a hundred thousand cache records takes.
_MAX_MESSAGE = 256 * 1024 * 1024

_PERMISSION_DENIED, _UNIMPLEMENTED, _UNAUTHENTICATED = 7, 12, 16


@cache
def _headers(method: str) -> bytes:
    return request_headers(method, _FIELDS)


class Channel:
    """One connection to a gRPC server. ``name`` starts error messages.

    No call has a deadline: the caller sets one. A call that is given up is cancelled on the
    server; where the server said nothing at all during it, the connection counts as dead.
    """

    def __init__(self, duplex: Duplex, name: str) -> None:
        self._name = name
        self._connection = Http2Connection(duplex, name)

    @property
    def usable(self) -> bool:
        """Whether another call may be made."""
        return self._connection.usable

    def close(self) -> None:
        """Give the connection up; calls under way fail."""
        self._connection.close()

    async def unary(self, method: str, request: bytes) -> bytes:
        """Call ``/service/method`` that answers with one message."""
        with self._calling(method, request) as call:
            reply = await call.next()
            if reply is None:
                raise call.error("success without an answer")
            if await call.next() is not None:
                raise call.error("more than one answer")
        return reply

    async def stream(self, method: str, request: bytes) -> AsyncGenerator[bytes, None]:
        """Call ``/service/method`` that answers with any number of messages."""
        with self._calling(method, request) as call:
            while (message := await call.next()) is not None:
                yield message

    @contextmanager
    def _calling(self, method: str, request: bytes) -> Iterator[_Call]:
        connection = self._connection
        heard = connection.heard
        call = _Call(f"{self._name}: {method.rpartition('/')[2]}", connection)
        body = _PREFIX.pack(0, len(request)) + request
        call.number = connection.request(_headers(method), body, call)
        try:
            yield call
        finally:
            if not call.ended:
                connection.cancel(call.number)
                if connection.heard == heard:
                    connection.close(
                        call.error("no answer; the connection is given up", Reason.TIMEOUT)
                    )


class _Call:
    """Puts the pieces of one answer together."""

    def __init__(self, what: str, connection: Http2Connection) -> None:
        self._what = what
        self._connection = connection
        self._partial = bytearray()
        self._messages: deque[bytes] = deque()
        self._queued = 0
        self._owed = 0
        self._answered = False
        self._status: bytes | None = None
        self._said = b""
        self._failure: NodeError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.number = 0
        self.ended = False

    async def next(self) -> bytes | None:
        """Return the next message, ``None`` after the last of a call that went well."""
        while not self._messages:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        self._queued -= len(message)
        if credit := self._credit():
            self._connection.grant(self.number, credit)
        return message

    def _credit(self) -> int:
        """Return, and forget, how much more the server may send: nothing while nobody takes it."""
        if self._owed < WINDOW // 2 or self._queued > WINDOW:
            return 0
        owed, self._owed = self._owed, 0
        return owed

    def on_headers(self, fields: dict[bytes, bytes]) -> None:
        """Take the head of the answer, or the trailers with the status; or both in one."""
        if not self._answered:
            status = fields.get(b":status", b"")
            if status[:1] == b"1":
                return
            self._answered = True
            if b"grpc-status" not in fields:
                self._check_head(status, fields.get(b"content-type", b""))
        if b"grpc-status" in fields:
            self._status = fields[b"grpc-status"]
            self._said = fields.get(b"grpc-message", b"")

    def _check_head(self, status: bytes, content: bytes) -> None:
        if status != b"200":
            reason = Reason.PERMISSION if status in (b"401", b"403") else Reason.PROTOCOL
            self._fail(f"HTTP {_text(status)} instead of a gRPC answer", reason)
        elif not content.startswith(b"application/grpc"):
            self._fail("the answer is not gRPC")

    def on_data(self, data: bytes) -> int:
        """Take a piece of the body."""
        self._owed += len(data)
        partial = self._partial
        partial += data
        start = 0
        while self._failure is None and len(partial) - start >= _PREFIX.size:
            compressed, size = _PREFIX.unpack_from(partial, start)
            if compressed or size > _MAX_MESSAGE:
                self._fail("a message is compressed or too large")
                break
            end = start + _PREFIX.size + size
            if len(partial) < end:
                break
            self._messages.append(bytes(partial[start + _PREFIX.size : end]))
            self._queued += size
            start = end
        if start:
            del partial[:start]
            self._wake()
        return self._credit()

    def on_end(self, failure: NodeError | None) -> None:
        """Take note of how the call went."""
        self.ended = True
        if self._failure is None:
            self._failure = failure or self._outcome()
        self._wake()

    def _outcome(self) -> NodeError | None:
        if self._status is None or not self._status.isdigit():
            return self.error("the answer ended without a status")
        code = int(self._status)
        if code == 0:
            if self._partial:
                return self.error("the answer ended within a message")
            return None
        said = f"{self._what}: {unquote(_text(self._said)) or f'gRPC status {code}'}"
        if code == _UNIMPLEMENTED:
            return UnsupportedError(Layer.BUILDKIT, Reason.BUILDKIT, said)
        refused = code in (_PERMISSION_DENIED, _UNAUTHENTICATED)
        reason = Reason.PERMISSION if refused else Reason.BUILDKIT
        return RemoteError(Layer.BUILDKIT, reason, said, code)

    def error(self, what: str, reason: Reason = Reason.PROTOCOL) -> NodeError:
        """Put into words what is wrong with the answer."""
        return NodeError(Layer.BUILDKIT, reason, f"{self._what}: {what}")

    def _fail(self, what: str, reason: Reason = Reason.PROTOCOL) -> None:
        self._failure = self.error(what, reason)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _text(value: bytes) -> str:
    return value.decode("latin-1")
