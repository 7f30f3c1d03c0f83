"""The stream of an attached exec: the Engine frames what the command writes.

Each frame starts with 8 bytes: the stream (1 stdout, 2 stderr), three zeros, and the length as
a 32-bit big-endian number (``github.com/docker/docker/pkg/stdcopy``). What we write goes to the
command's stdin as it is.
"""

from __future__ import annotations

import struct

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.duplex import Duplex

_HEADER = struct.Struct(">BxxxL")
_STDOUT, _STDERR = 1, 2
_STDERR_KEPT = 4096


class RawStream(Duplex):
    """A command's stdout and stdin as a :class:`~exporter.transports.duplex.Duplex`."""

    def __init__(self, inner: Duplex) -> None:
        super().__init__()
        self._inner = inner
        self._head = b""
        self._left = 0
        self._stream = _STDOUT
        self._stderr = bytearray()
        inner.forward(self)

    @property
    def stderr(self) -> str:
        """What the command said on stderr so far, its last 4 KiB."""
        return self._stderr.decode(errors="replace").strip()

    def data_received(self, data: bytes) -> None:
        """Take the Engine's frames apart."""
        if self._head:
            data, self._head = self._head + data, b""
        start = 0
        while start < len(data):
            if self._left == 0:
                if len(data) - start < _HEADER.size:
                    self._head = data[start:]
                    return
                self._stream, self._left = _HEADER.unpack_from(data, start)
                if self._stream > _STDERR:
                    self.end(
                        NodeError(Layer.ENGINE, Reason.PROTOCOL, "the exec stream has a bad frame")
                    )
                    self.close()
                    return
                start += _HEADER.size
            piece = data[start : start + self._left]
            start += len(piece)
            self._left -= len(piece)
            if self._stream != _STDERR:
                self.feed(piece)
                continue
            self._stderr += piece
            del self._stderr[:-_STDERR_KEPT]

    def end_received(self, failure: NodeError | None) -> None:
        """End with the stream below."""
        self.end(failure)

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer to the command's stdin."""
        self._inner.write(data)

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        await self._inner.drain()

    def hold(self, held: bool) -> None:
        """Keep the Engine from sending, or let it go on."""
        self._inner.hold(held)

    def close(self) -> None:
        """Let go of the command: its stdin ends."""
        self.end()
        self._inner.close()
