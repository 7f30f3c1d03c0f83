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
_CHUNK = 65536
_STDERR_KEPT = 4096


class RawStream:
    """A command's stdout and stdin as a :class:`~exporter.transports.duplex.Duplex`."""

    def __init__(self, inner: Duplex) -> None:
        self._inner = inner
        self._buffer = bytearray()
        self._left = 0
        self._stream = _STDOUT
        self._stderr = bytearray()

    @property
    def stderr(self) -> str:
        """What the command said on stderr so far, its last 4 KiB."""
        return self._stderr.decode(errors="replace").strip()

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes of stdout, ``b""`` when the command ended."""
        while True:
            while self._left == 0:
                if len(self._buffer) >= _HEADER.size:
                    self._stream, self._left = _HEADER.unpack_from(self._buffer)
                    del self._buffer[: _HEADER.size]
                    if self._stream > _STDERR:
                        raise NodeError(
                            Layer.ENGINE, Reason.PROTOCOL, "the exec stream has a bad frame"
                        )
                elif not await self._more():
                    return b""
            if not self._buffer and not await self._more():
                return b""
            size = min(self._left, len(self._buffer), n)
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._left -= size
            if self._stream == _STDOUT:
                return data
            self._stderr += data
            del self._stderr[:-_STDERR_KEPT]

    async def _more(self) -> bool:
        data = await self._inner.read(_CHUNK)
        self._buffer += data
        return bool(data)

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer to the command's stdin."""
        self._inner.write(data)

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        await self._inner.drain()

    def close(self) -> None:
        """Let go of the command: its stdin ends."""
        self._inner.close()
