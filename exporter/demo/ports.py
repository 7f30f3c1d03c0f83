"""A TCP port on loopback whose machine or whose daemon can fail."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

LOOPBACK = "127.0.0.1"

# A packet filter on a socket (Linux, asm-generic/socket.h) sees what arrives before TCP does. One
# that drops everything makes the peer see what it sees of a machine without power or network.
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_DROP_ALL = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
_PROGRAM = struct.pack("@HP", 1, ctypes.addressof(_DROP_ALL))


class Connection(Protocol):
    """An accepted connection, of asyncio or of asyncssh."""

    def get_extra_info(self, name: str) -> Any:
        """Give the ``socket``."""

    def abort(self) -> None:
        """End at once."""


class Server(Protocol):
    """What accepts connections, of asyncio or of asyncssh."""

    def close(self) -> None:
        """Accept no more."""


Serve = Callable[["Port", socket.socket], Awaitable[Server]]
"""Starts to accept the connections of a port, whose bound socket it is given."""


class Port:
    """A port that is served, until it fails in one of three ways; :meth:`restore` mends all.

    Whoever serves it reports each connection by :meth:`add` and :meth:`discard`.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listener = socket.socket()
        self._server: Server | None = None
        self._silent = False
        self._connections: set[Connection] = set()
        self._changed = asyncio.Event()

    @property
    def number(self) -> int:
        """The port's number."""
        number: int = self._listener.getsockname()[1]
        return number

    def add(self, connection: Connection) -> None:
        """Learn of a connection."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """Learn that a connection is no more."""
        self._connections.discard(connection)
        self._changed.set()

    async def open(self) -> None:
        """Take a free port and serve it."""
        # A port that the kernel chose is given up when the socket stops to listen; one that was
        # asked for is kept. So one socket finds the port and another asks for it.
        with socket.socket() as finder:
            for sock in (finder, self._listener):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            finder.bind((LOOPBACK, 0))
            self._listener.bind(finder.getsockname())
        self._server = await self._serve(self, self._listener)

    def silence(self) -> None:
        """Let no packet in any more, as if the machine were off."""
        _drop_all(self._listener)
        self._silent = True
        self._silence_connections()

    def refuse(self) -> None:
        """Cut all connections and refuse new ones, as if nobody listened."""
        self._stop_accepting()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._abort()

    def hang(self) -> None:
        """Accept nothing and read nothing, as if the process were stopped. The kernel connects."""
        self._stop_accepting()
        self._silence_connections()

    async def restore(self) -> None:
        """Serve again. Old connections are reset, as after a reboot."""
        self._abort()
        if self._silent:
            self._listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            self._silent = False
        if self._server is None:
            self._server = await self._serve(self, self._listener)

    async def close(self) -> None:
        """End all connections and give the port up."""
        if self._server is not None:
            self._server.close()
        self._listener.close()
        self._abort()
        while self._connections:
            self._changed.clear()
            await self._changed.wait()

    def _stop_accepting(self) -> None:
        """Take the socket away from the event loop; it stays bound, so that nobody takes it."""
        if self._server is not None:
            kept = self._listener.dup()
            self._server.close()
            self._server, self._listener = None, kept

    def _silence_connections(self) -> None:
        for connection in self._connections:
            _drop_all(connection.get_extra_info("socket"))

    def _abort(self) -> None:
        for connection in list(self._connections):
            connection.abort()


def _drop_all(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _PROGRAM)
