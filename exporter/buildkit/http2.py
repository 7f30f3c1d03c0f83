"""The part of an HTTP/2 client (RFC 9113) that gRPC needs, over a Duplex.

Requests are a block of headers that never changes and a short body; nothing is pushed to us.
Small and direct, because a look at a node's cache is mostly this.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from hpack import Decoder, HPACKError

from exporter.buildkit import frames as f
from exporter.errors import Layer, NodeError, Reason
from exporter.transports.duplex import Duplex

# What a peer may send before we say go on. A list of some ten thousand cache records is one
# message of a few megabytes: with HTTP/2's own 64 KiB every piece would wait for a round trip.
WINDOW = 4 * 1024 * 1024

_MAX_HEADERS = 64 * 1024


class Stream(Protocol):
    """Who is told what comes in answer to a request. Its methods must not raise."""

    def on_headers(self, fields: dict[bytes, bytes]) -> None:
        """Take a block of headers: the answer's first, then perhaps trailers."""
        ...

    def on_data(self, data: bytes) -> int:
        """Take a piece of the body; return how many bytes more the peer may now send."""
        ...

    def on_end(self, failure: NodeError | None) -> None:
        """Learn, once, that nothing more comes; ``failure`` says why if it was cut short."""
        ...


@dataclass(slots=True)
class _Open:
    stream: Stream
    window: int
    """Bytes that we may still send."""
    unsent: bytes
    credit: int = WINDOW
    """Bytes that the peer may still send."""


_HELLO = (
    f.PREFACE
    + f.settings({f.ENABLE_PUSH: 0, f.INITIAL_WINDOW_SIZE: WINDOW})
    + f.window_update(0, WINDOW - f.DEFAULT_WINDOW)
)


class Http2Connection:
    """One connection with any number of requests at a time. ``name`` starts error messages."""

    def __init__(self, duplex: Duplex, name: str) -> None:
        self._duplex = duplex
        self._name = name
        self._open: dict[int, _Open] = {}
        self._next_id = 1
        self._out = [_HELLO]
        self._unparsed = b""
        self._greeted = False
        self._refusal: NodeError | None = None
        self._decoder = Decoder()
        self._block: tuple[int, int, bytearray] | None = None
        self._window = self._first_window = f.DEFAULT_WINDOW
        self._frame_size = f.DEFAULT_FRAME_SIZE
        self._credit = WINDOW
        self.heard = 0
        """Frames received so far."""
        duplex.forward(self)

    @property
    def usable(self) -> bool:
        """Whether another request may be made."""
        return self._refusal is None

    # ------------------------------------------------------------------------- requests

    def request(self, headers: bytes, body: bytes, stream: Stream) -> int:
        """Send a request whose headers are an encoded block; the stream's number."""
        if self._refusal is not None:
            stream.on_end(self._refusal)
            return 0
        number = self._next_id
        self._next_id += 2
        self._open[number] = opened = _Open(stream, self._first_window, body)
        self._out.append(f.frame(f.HEADERS, f.END_HEADERS, number, headers))
        self._send_body(number, opened)
        self._flush()
        return number

    def cancel(self, number: int) -> None:
        """Drop a request that was not wholly answered; its stream is told nothing more."""
        if self._open.pop(number, None) is not None:
            self._out.append(f.reset(number))
            self._flush()
            self._close_if_done()

    def grant(self, number: int, size: int) -> None:
        """Let the peer send ``size`` bytes more on a stream."""
        if size and (opened := self._open.get(number)) is not None:
            opened.credit += size
            self._out.append(f.window_update(number, size))
            self._flush()

    def close(self, failure: NodeError | None = None) -> None:
        """Give the connection up; what is under way fails."""
        if failure is None:
            failure = self._error(Reason.BUILDKIT, "BuildKit ended the connection")
        self._refusal = self._refusal or failure
        streams, self._open = list(self._open.values()), {}
        self._duplex.close()
        for opened in streams:
            opened.stream.on_end(failure)

    def _send_body(self, number: int, opened: _Open) -> None:
        while True:
            size = min(len(opened.unsent), opened.window, self._window, self._frame_size)
            last = size == len(opened.unsent)
            if size <= 0 and not last:
                return
            piece, opened.unsent = opened.unsent[:size], opened.unsent[size:]
            opened.window -= size
            self._window -= size
            self._out.append(f.frame(f.DATA, f.END_STREAM if last else 0, number, piece))
            if last:
                return

    def _send_waiting(self) -> None:
        for number, opened in self._open.items():
            if opened.unsent:
                self._send_body(number, opened)

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._duplex.write(data)

    # --------------------------------------------------------------------------- frames

    def data_received(self, data: bytes) -> None:
        """Parse what arrives; a peer that breaks the rules loses the connection."""
        if self._unparsed:
            data = self._unparsed + data
        start, size = 0, len(data)
        try:
            while size - start >= f.HEAD.size:
                high, low, kind, flags, number = f.HEAD.unpack_from(data, start)
                end = start + f.HEAD.size + (high << 16) + low
                self._check_head(end - start - f.HEAD.size, kind, number & f.MAX_WINDOW)
                if end > size:
                    break
                self.heard += 1
                payload = data[start + f.HEAD.size : end]
                start = end
                handler = _HANDLERS.get(kind)
                if handler is not None:
                    handler(self, flags, number & f.MAX_WINDOW, payload)
        except (HPACKError, struct.error) as error:
            self.close(self._bad(f"a malformed frame ({type(error).__name__})"))
            return
        except NodeError as error:
            self.close(error)
            return
        self._unparsed = data[start:]
        self._flush()

    def end_received(self, failure: NodeError | None) -> None:
        """Fail what is under way: the stream below ended."""
        self.close(failure)

    def _check_head(self, length: int, kind: int, number: int) -> None:
        if not self._greeted:
            if kind != f.SETTINGS or number or length > f.DEFAULT_FRAME_SIZE:
                raise self._error(Reason.PROTOCOL, "what answers does not speak HTTP/2")
            self._greeted = True
        if length > f.DEFAULT_FRAME_SIZE:
            raise self._bad("a frame larger than allowed")
        if self._block is not None and (kind != f.CONTINUATION or number != self._block[0]):
            raise self._bad("headers that do not end")

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        opened = self._stream(number)
        size = len(payload)
        self._credit -= size
        if self._credit < WINDOW // 2:
            self._out.append(f.window_update(0, WINDOW - self._credit))
            self._credit = WINDOW
        if opened is None:
            return
        opened.credit -= size
        if opened.credit < 0:
            raise self._bad("more data than its window allows")
        data = self._unpadded(flags, payload)
        grant = opened.stream.on_data(data) + size - len(data)
        if flags & f.END_STREAM:
            self._end(number)
        else:
            self.grant(number, grant)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        self._stream(number)
        payload = self._unpadded(flags, payload)
        if flags & f.PRIORITY:
            payload = payload[5:]
        self._block = (number, flags, bytearray())
        self._on_continuation(flags, number, payload)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            raise self._bad("a continuation of nothing")
        _, first_flags, block = self._block
        block += payload
        if len(block) > _MAX_HEADERS:
            raise self._bad("headers larger than allowed")
        if not flags & f.END_HEADERS:
            return
        self._block = None
        # Decoded for forgotten streams as well: the decoder's table grows by every block.
        fields = dict(self._decoder.decode(bytes(block), raw=True))
        if (opened := self._open.get(number)) is not None:
            opened.stream.on_headers(fields)
            if first_flags & f.END_STREAM:
                self._end(number)

    def _on_reset(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        self._stream(number)
        (code,) = f.LONG.unpack(payload)
        if (opened := self._open.pop(number, None)) is not None:
            said = f"BuildKit broke the request off (HTTP/2 error {code})"
            opened.stream.on_end(self._error(Reason.BUILDKIT, said))

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise self._bad("settings of a stream")
        if flags & f.ACK:
            return
        for setting, value in f.SETTING.iter_unpack(payload):
            if setting == f.INITIAL_WINDOW_SIZE:
                if value > f.MAX_WINDOW:
                    raise self._bad("a window larger than allowed")
                for opened in self._open.values():
                    opened.window += value - self._first_window
                self._first_window = value
            elif setting == f.MAX_FRAME_SIZE:
                if not f.DEFAULT_FRAME_SIZE <= value <= f.LARGEST_FRAME_SIZE:
                    raise self._bad("a frame size out of range")
                self._frame_size = value
        self._out.append(f.frame(f.SETTINGS, f.ACK, 0))
        self._send_waiting()

    def _on_push(self, flags: int, number: int, payload: bytes) -> None:
        del flags, number, payload
        raise self._bad("a push, which was switched off")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            raise self._bad("a malformed ping")
        if not flags & f.ACK:
            self._out.append(f.frame(f.PING, f.ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        del flags, number
        last, code = struct.unpack_from(">LL", payload)
        said = payload[8:200].decode(errors="replace") or f"HTTP/2 error {code}"
        self._refusal = self._error(Reason.BUILDKIT, f"BuildKit is leaving: {said}")
        ignored = [n for n in self._open if n > last & f.MAX_WINDOW]
        for stream in [self._open.pop(n).stream for n in ignored]:
            stream.on_end(self._refusal)
        self._close_if_done()

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        del flags
        size = f.LONG.unpack(payload)[0] & f.MAX_WINDOW
        opened = self._stream(number) if number else None
        if number == 0:
            self._window += size
        elif opened is not None:
            opened.window += size
        if size == 0 or max(self._window, opened.window if opened else 0) > f.MAX_WINDOW:
            raise self._bad("a window update out of range")
        self._send_waiting()

    def _stream(self, number: int) -> _Open | None:
        """Find a stream of ours; ``None`` when it is over already."""
        if number % 2 == 0 or number >= self._next_id:
            raise self._bad("a frame for a stream that was never opened")
        return self._open.get(number)

    def _end(self, number: int) -> None:
        if (opened := self._open.pop(number, None)) is not None:
            if opened.unsent:
                self._out.append(f.reset(number))
            opened.stream.on_end(None)
        self._close_if_done()

    def _close_if_done(self) -> None:
        """Close once the peer wants to leave and nothing is under way any more."""
        if self._refusal is not None and not self._open:
            self.close()

    def _unpadded(self, flags: int, payload: bytes) -> bytes:
        data = f.unpad(payload) if flags & f.PADDED else payload
        if data is None:
            raise self._bad("more padding than frame")
        return data

    def _bad(self, what: str) -> NodeError:
        return self._error(Reason.PROTOCOL, f"HTTP/2: the peer sent {what}")

    def _error(self, reason: Reason, what: str) -> NodeError:
        return NodeError(Layer.BUILDKIT, reason, f"{self._name}: {what}")


_HANDLERS = {
    f.DATA: Http2Connection._on_data,
    f.HEADERS: Http2Connection._on_headers,
    f.RST_STREAM: Http2Connection._on_reset,
    f.SETTINGS: Http2Connection._on_settings,
    f.PUSH_PROMISE: Http2Connection._on_push,
    f.PING: Http2Connection._on_ping,
    f.GOAWAY: Http2Connection._on_goaway,
    f.WINDOW_UPDATE: Http2Connection._on_window_update,
    f.CONTINUATION: Http2Connection._on_continuation,
}
