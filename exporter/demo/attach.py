"""The Engine's side of an attached exec: what the command writes goes out in frames."""

from __future__ import annotations

import struct

from exporter.demo.wire import Wire

_FRAME = struct.Struct(">BxxxL")
_STDOUT = 1


class Framed:
    """A wire whose data goes out as an attached command's stdout."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.close = wire.close
        self.is_closing = wire.is_closing

    def write(self, data: bytes) -> None:
        """Send a frame."""
        self._wire.write(_FRAME.pack(_STDOUT, len(data)) + data)


class Output:
    """A command that prints something and ends."""

    def __init__(self, wire: Wire, output: bytes) -> None:
        wire.write(output)
        wire.close()

    def receive(self, data: bytes) -> None:
        """Let what is written to the command's stdin go by."""

    def lost(self) -> None:
        """Be done already."""
