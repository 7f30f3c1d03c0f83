"""A TCP relay on loopback that can fall silent or cut its connections, as networks do."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

# What makes closing a socket a reset.
_AT_ONCE = struct.pack("ii", 1, 0)


class Relay:
    """Passes bytes on to a port of 127.0.0.1; used as an async context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def freeze(self) -> None:
        """Pass nothing on any more; nobody is told."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Go on, with what came meanwhile first."""
        self._flowing.set()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in self._writers:
            sock: socket.socket = writer.get_extra_info("socket")
            if sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, onward]
        for source, sink in ((reader, onward), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink), name="relay")
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
        except OSError:
            pass  # reset by either end, which the other now learns
        finally:
            sink.close()
