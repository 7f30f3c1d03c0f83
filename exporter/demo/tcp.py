"""TCP servers of simulated nodes: the daemon's port behind mutual TLS, and a node_exporter."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from exporter.demo.http import HttpConnection, Reply, Request
from exporter.demo.machine import Machine
from exporter.demo.ports import Port
from exporter.demo.tasks import Tasks
from exporter.demo.wire import Receiver, Wire

_HANDSHAKE = 10.0


async def serve_tls(
    sock: socket.socket,
    context: ssl.SSLContext,
    port: Port,
    tasks: Tasks,
    speak: Callable[[Wire], Receiver],
) -> asyncio.Server:
    """Accept TLS connections. ``speak`` is the daemon behind them."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Handshake(context, port, tasks, speak), sock=sock)


async def serve_node_exporter(sock: socket.socket, machine: Machine, port: Port) -> asyncio.Server:
    """Serve what a node_exporter says of the machine's filesystem."""

    def answer(request: Request) -> Reply:
        if request.path != "/metrics":
            return Reply(404)
        page = _page(machine).encode()
        return Reply(200, page, {"Content-Type": "text/plain; version=0.0.4"})

    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _Stream(port, lambda wire: HttpConnection(wire, answer)), sock=sock
    )


def _page(machine: Machine) -> str:
    disk = machine.disk
    labels = f'{{device="/dev/vda1",fstype="ext4",mountpoint="{machine.root}"}}'
    values = {
        "node_filesystem_size_bytes": disk.size,
        "node_filesystem_avail_bytes": disk.available,
        "node_filesystem_files": disk.inodes,
        "node_filesystem_files_free": disk.inodes_free,
    }
    return "".join(
        f"# TYPE {name} gauge\n{name}{labels} {value}\n" for name, value in values.items()
    )


class _Stream(asyncio.Protocol):
    """A connection, reported to its port as long as it lasts."""

    def __init__(self, port: Port, speak: Callable[[Wire], Receiver]) -> None:
        self._port = port
        self._speak = speak
        self._receiver: Receiver | None = None
        self._early = b""
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._lost:
            return
        self._transport = transport
        self._port.add(transport)
        self._receiver = self._speak(transport)
        if self._early:
            self._receiver.receive(self._early)

    def data_received(self, data: bytes) -> None:
        if self._receiver is None:
            # What comes along with the end of a handshake is read before anybody knows of its end.
            self._early += data
        else:
            self._receiver.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._receiver is not None:
            self._port.discard(self._transport)
            self._receiver.lost()


class _Handshake(asyncio.Protocol):
    """A connection before TLS. It is reported from its first moment: a peer may never speak."""

    def __init__(
        self,
        context: ssl.SSLContext,
        port: Port,
        tasks: Tasks,
        speak: Callable[[Wire], Receiver],
    ) -> None:
        self._context = context
        self._port = port
        self._tasks = tasks
        self._speak = speak

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._port.add(transport)
        self._tasks.start(self._shake_hands(transport), name=f"demo/handshake/{self._port.number}")

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        stream = _Stream(self._port, self._speak)
        try:
            tls = await loop.start_tls(
                transport, stream, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE
            )
        except OSError:  # a client without our certificate, or one that went away
            tls = None
        finally:
            self._port.discard(transport)
        if tls is not None:
            stream.connection_made(tls)
