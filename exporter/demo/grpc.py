"""The server's side of gRPC over HTTP/2: unary calls and streams of answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError

from exporter.demo.tasks import Tasks
from exporter.demo.wire import Wire

OK, UNKNOWN, INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 0, 2, 3, 5, 12, 14

Method = Callable[[bytes], bytes | AsyncIterator[bytes]]
"""From a request to its answer, or to a stream of them. May raise :class:`Refusal`."""


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """The answer to a call is a gRPC status other than OK."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class _Call:
    """A call: what was received of its request, what is still to be sent of its answer."""

    path: str
    request: bytearray = field(default_factory=bytearray)
    answer: bytearray = field(default_factory=bytearray)
    trailers: list[tuple[str, str]] | None = None
    task: asyncio.Task[None] | None = None


class GrpcConnection:
    """One HTTP/2 connection. ``methods`` are named by their path."""

    def __init__(self, wire: Wire, methods: Mapping[str, Method], tasks: Tasks, name: str) -> None:
        self._wire = wire
        self._methods = methods
        self._tasks = tasks
        self._name = name
        self._calls: dict[int, _Call] = {}
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()

    def receive(self, data: bytes) -> None:
        """Take what was read."""
        try:
            events = self._h2.receive_data(data)
            for event in events:
                self._handle(event)
        except ProtocolError:
            self._flush()
            self._wire.close()
            return
        # Whatever came may have opened a window.
        for stream in list(self._calls):
            self._send(stream)
        self._flush()

    def lost(self) -> None:
        """Learn that the connection ended: nobody waits for answers any more."""
        for stream in list(self._calls):
            self._drop(stream)

    def _handle(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=stream, headers=headers):
                assert stream is not None
                path = next(str(value) for name, value in headers or () if str(name) == ":path")
                self._calls[stream] = _Call(path)
            case DataReceived(stream_id=stream, data=data, flow_controlled_length=length):
                assert stream is not None
                self._h2.acknowledge_received_data(length or 0, stream)
                if stream in self._calls:
                    self._calls[stream].request += data or b""
            case StreamEnded(stream_id=stream) if stream in self._calls:
                self._answer(stream, self._calls[stream])
            case StreamReset(stream_id=stream):
                assert stream is not None
                self._drop(stream)
            case ConnectionTerminated():
                self.lost()
                self._wire.close()

    def _answer(self, stream: int, call: _Call) -> None:
        method = self._methods.get(call.path)
        service, _, name = call.path.lstrip("/").partition("/")
        try:
            if method is None:
                message = f"unknown method {name} for service {service}"
                raise Refusal(UNIMPLEMENTED, message)
            # A flag for compression and a length lie before the message.
            answer = method(bytes(call.request[5:]))
        except Refusal as refusal:
            self._h2.send_headers(stream, [*_HEADERS, *_status(refusal)], end_stream=True)
            del self._calls[stream]
            return
        self._h2.send_headers(stream, _HEADERS)
        if isinstance(answer, bytes):
            call.answer += _framed(answer)
            call.trailers = _status(None)
        else:
            call.task = self._tasks.start(
                self._stream(stream, call, answer), name=f"{self._name}/{name}"
            )

    async def _stream(self, stream: int, call: _Call, answers: AsyncIterator[bytes]) -> None:
        refusal: Refusal | None = None
        try:
            async for answer in answers:
                call.answer += _framed(answer)
                self._send(stream)
                self._flush()
        except Refusal as error:
            refusal = error
        call.trailers = _status(refusal)
        self._send(stream)
        self._flush()

    def _send(self, stream: int) -> None:
        """Send as much of an answer as the client has room for."""
        call = self._calls[stream]
        while call.answer:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            self._h2.send_data(stream, bytes(call.answer[:room]))
            del call.answer[:room]
        if call.trailers is not None:
            self._h2.send_headers(stream, call.trailers, end_stream=True)
            del self._calls[stream]

    def _drop(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is not None and call.task is not None:
            call.task.cancel()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self._wire.is_closing():
            self._wire.write(data)


_HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


def _status(refusal: Refusal | None) -> list[tuple[str, str]]:
    if refusal is None:
        return [("grpc-status", str(OK))]
    message = quote(refusal.message, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
    return [("grpc-status", str(refusal.status)), ("grpc-message", message)]


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message
