"""A simulated node: a machine's state behind real servers, and the ways in which it can fail."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from types import TracebackType

from exporter.demo import ssh, tcp
from exporter.demo.blueprints import Blueprint
from exporter.demo.control import ControlService
from exporter.demo.credentials import USER, Credentials
from exporter.demo.engine import EngineApi
from exporter.demo.grpc import GrpcConnection
from exporter.demo.http import HttpConnection
from exporter.demo.machine import Daemon, Machine
from exporter.demo.ports import LOOPBACK, Port, Serve, Server
from exporter.demo.tasks import Tasks
from exporter.demo.wire import Receiver, Wire
from exporter.model import CollectSettings, DiskSettings, NodeSpec, SshEndpoint, TcpEndpoint

# A demo is watched by people: they see what happens at once.
_LIVELY = CollectSettings(
    reachability=5.0, disk=5.0, cache=10.0, workers=60.0, orphans=60.0, timeout=4.0
)
_CONNECT_TIMEOUT = 3.0


class SimulatedNode:
    """An async context manager: inside of it the node answers at ``spec.endpoint``.

    ``credentials`` are those of the farm; a node on its own makes some.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        *,
        rng: Random,
        clock: Callable[[], float],
        credentials: Credentials | None = None,
    ) -> None:
        self.blueprint = blueprint
        self.machine = Machine(blueprint, rng, clock)
        self.reachable = True
        """False from :meth:`silence` or :meth:`refuse` to :meth:`restore`."""
        self.spec: NodeSpec
        self._clock = clock
        self._credentials = credentials
        self._tasks = Tasks()
        self._receivers: dict[Receiver, Wire] = {}
        self._ports: list[Port] = []
        self._stack = AsyncExitStack()
        self._engine = EngineApi(self.machine, self._tasks)

    async def __aenter__(self) -> SimulatedNode:
        async with AsyncExitStack() as stack:
            self._stack = stack
            stack.push_async_callback(self._tasks.stop)
            if self._credentials is None:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-node-"))
                self._credentials = await asyncio.to_thread(
                    Credentials, Path(directory), self._clock
                )
            if self.blueprint.way == "ssh":
                self.spec = await self._start_ssh(self._credentials)
            else:
                self.spec = await self._start_tls(self._credentials)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    # ------------------------------------------------------------------------------ failures

    def silence(self) -> None:
        """Lose the machine: no packet is answered any more."""
        self._lose_streams()
        for port in self._ports:
            port.silence()
        self.reachable = False

    def refuse(self) -> None:
        """Lose the servers: connections break, new ones are refused."""
        self._lose_streams()
        for port in self._ports:
            port.refuse()
        self.reachable = False

    def hang(self) -> None:
        """Stop the daemon as SIGSTOP does: its socket connects, and nothing comes back."""
        self._lose_streams()
        self.machine.daemon = Daemon.HUNG
        if self.blueprint.way == "tls":
            self._ports[0].hang()

    def stop_daemon(self) -> None:
        """End the daemon, and all its containers: the machine itself is well."""
        self.machine.daemon = Daemon.STOPPED
        self.machine.crash()
        if self.blueprint.way == "tls":
            self._ports[0].refuse()
        for wire in list(self._receivers.values()):
            wire.close()

    async def restore(self) -> None:
        """Mend whatever failed; connections made before are reset."""
        self.machine.daemon = Daemon.RUNNING
        for port in self._ports:
            await port.restore()
        self.reachable = True

    def _lose_streams(self) -> None:
        for receiver in list(self._receivers):
            receiver.lost()

    # ------------------------------------------------------------------------------- servers

    async def _start_ssh(self, credentials: Credentials) -> NodeSpec:
        options = ssh.server_options(credentials)

        async def serve(port: Port, sock: socket.socket) -> Server:
            return await ssh.serve(sock, options, self.machine, port, self._daemon)

        number = await self._open(serve)
        await asyncio.to_thread(credentials.trust, number)
        endpoint = SshEndpoint(
            host=LOOPBACK,
            user=USER,
            port=number,
            identity_files=(credentials.identity,),
            known_hosts=(credentials.known_hosts,),
            config_files=(),
            connect_timeout=_CONNECT_TIMEOUT,
        )
        return self._spec(endpoint, DiskSettings())

    async def _start_tls(self, credentials: Credentials) -> NodeSpec:
        blueprint = self.blueprint
        protocol = "h2" if blueprint.remote else "http/1.1"
        context = await asyncio.to_thread(
            credentials.server_context, blueprint.certificate_days, protocol
        )

        async def serve(port: Port, sock: socket.socket) -> Server:
            return await tcp.serve_tls(sock, context, port, self._tasks, self._daemon)

        async def serve_exporter(port: Port, sock: socket.socket) -> Server:
            return await tcp.serve_node_exporter(sock, self.machine, port)

        number = await self._open(serve)
        page = f"http://{LOOPBACK}:{await self._open(serve_exporter)}/metrics"
        endpoint = TcpEndpoint(LOOPBACK, number, credentials.client, _CONNECT_TIMEOUT)
        return self._spec(endpoint, DiskSettings(node_exporter=page))

    async def _open(self, serve: Serve) -> int:
        """Serve a new port until the node ends; its number."""
        port = Port(serve)
        self._stack.push_async_callback(port.close)
        await port.open()
        self._ports.append(port)
        return port.number

    def _spec(self, endpoint: SshEndpoint | TcpEndpoint, disk: DiskSettings) -> NodeSpec:
        return NodeSpec(
            name=self.blueprint.name,
            endpoint=endpoint,
            remote=self.blueprint.remote,
            platforms=(f"linux/{self.blueprint.arch}", *self.blueprint.expected),
            disk=disk,
            collect=_LIVELY,
        )

    def _daemon(self, wire: Wire) -> Receiver:
        """Begin to speak on a connection to the Engine, or to a bare buildkitd."""
        receiver: Receiver
        if self.blueprint.remote:
            builder = next(iter(self.machine.builders.values()))
            service = ControlService(self.machine, builder)
            name = f"demo/{self.blueprint.name}"
            receiver = GrpcConnection(wire, service.methods(), self._tasks, name)
        else:
            receiver = HttpConnection(wire, self._engine.answer)
        return _Tracked(receiver, wire, self._receivers)


class _Tracked:
    """A receiver that is listed ``among`` others with its wire as long as it is not lost."""

    def __init__(self, inner: Receiver, wire: Wire, among: dict[Receiver, Wire]) -> None:
        self._inner = inner
        self._among = among
        among[self] = wire

    def receive(self, data: bytes) -> None:
        self._inner.receive(data)

    def lost(self) -> None:
        self._among.pop(self, None)
        self._inner.lost()
