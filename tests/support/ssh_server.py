"""An SSH server on loopback that forwards to real sockets, as a node's sshd does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import asyncssh

from exporter.model import SshEndpoint

Command = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]


class SshServer:
    """Lets in whoever has the key :attr:`identity`; used as an async context manager.

    ``forwards``: streams to sockets and ports are forwarded. ``sftp``: class of the SFTP server,
    ``None`` for none. ``command`` runs whatever command is asked for. ``refusal`` is the code and
    the text with which connections to ports are refused.
    """

    def __init__(
        self,
        directory: Path,
        *,
        forwards: bool = True,
        sftp: type[asyncssh.SFTPServer] | None = asyncssh.SFTPServer,
        command: Command | None = None,
        ciphers: Sequence[str] = (),
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.forwards = forwards
        self.sftp = sftp
        self.command = command
        self.refusal: tuple[int, str] | None = None
        self.ciphers = ciphers
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.commands: list[str | None] = []
        self.identity = directory / "id_ed25519"
        self.known_hosts = directory / "known_hosts"
        self.port = 0
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._acceptor: asyncssh.SSHAcceptor | None = None
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self.identity)
        self.authorized = directory / "authorized_keys"
        self.authorized.write_bytes(key.export_public_key())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=lambda: _Login(self),
            server_host_keys=[self._host_key],
            authorized_client_keys=str(self.authorized),
            sftp_factory=self.sftp or False,
            process_factory=self._run if self.command is not None else None,
            encryption_algs=self.ciphers,
            encoding=None,
        )
        self.port = self._acceptor.get_port()
        self.trust(self._host_key)

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
        await self.cut()

    async def cut(self) -> None:
        """Cut every connection."""
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.abort()
            await connection.wait_closed()

    def trust(self, key: asyncssh.SSHKey) -> None:
        """Make the known hosts file hold this key for the server, and no other."""
        line = f"[127.0.0.1]:{self.port} ".encode() + key.export_public_key()
        self.known_hosts.write_bytes(line)

    def endpoint(self, socket: Path | str = "/nowhere.sock", **changes: Any) -> SshEndpoint:
        """Give an endpoint that works, but for ``changes``."""
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "user": "builder",
            "port": self.port,
            "socket": str(socket),
            "identity_files": (self.identity,),
            "known_hosts": (self.known_hosts,),
            "config_files": (),
        }
        return SshEndpoint(**values | changes)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        assert self.command is not None
        self.commands.append(process.command)
        await self.command(process)


class _Login(asyncssh.SSHServer):
    def __init__(self, owner: SshServer) -> None:
        self._owner = owner

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._owner.connections.append(conn)

    def unix_connection_requested(self, dest_path: str) -> bool:
        return self._owner.forwards

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        if self._owner.refusal is not None:
            raise asyncssh.ChannelOpenError(*self._owner.refusal)
        return self._owner.forwards


def pipe_to(socket: Path) -> Command:
    """Give a command that does what ``docker system dial-stdio`` does."""

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        reader, writer = await asyncio.open_unix_connection(socket)

        async def back() -> None:
            while data := await reader.read(65536):
                process.stdout.write(data)
            process.exit(0)

        answering = asyncio.create_task(back(), name="dial-stdio")
        try:
            while data := await process.stdin.read(65536):
                writer.write(data)
        except (asyncssh.Error, OSError):
            process.close()
        finally:
            writer.close()
            await answering

    return run
