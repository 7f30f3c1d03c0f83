"""The SSH server of a simulated node: forwarding to the Engine's socket, and a bare SFTP.

As with ``restrict,port-forwarding,command="internal-sftp"`` there is no shell; and there are no
files: SFTP knows the size of the filesystem and nothing else.
"""

from __future__ import annotations

import posixpath
import socket
from collections.abc import Callable

import asyncssh

from exporter.demo.credentials import USER, Credentials
from exporter.demo.machine import BLOCK, Daemon, Machine
from exporter.demo.ports import Port
from exporter.demo.wire import Receiver, Wire

_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")


def server_options(credentials: Credentials) -> asyncssh.SSHServerConnectionOptions:
    """What the servers of all nodes have in common."""
    return asyncssh.SSHServerConnectionOptions(
        config=[],
        server_host_keys=[credentials.host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(credentials.user_keys),
        server_version="OpenSSH_9.2p1",
        gss_host=None,
        allow_pty=False,
        agent_forwarding=False,
        line_editor=False,
        compression_algs=["none"],
    )


async def serve(
    sock: socket.socket,
    options: asyncssh.SSHServerConnectionOptions,
    machine: Machine,
    port: Port,
    speak: Callable[[Wire], Receiver],
) -> asyncssh.SSHAcceptor:
    """Accept connections to a node. ``speak`` is the Engine behind its socket."""
    return await asyncssh.listen(
        sock=sock,
        options=options,
        server_factory=lambda: _Server(machine, port, speak),
        sftp_factory=lambda channel: _Sftp(channel, machine),
    )


class _Server(asyncssh.SSHServer):
    def __init__(self, machine: Machine, port: Port, speak: Callable[[Wire], Receiver]) -> None:
        self._machine = machine
        self._port = port
        self._speak = speak

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._port.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return False

    def unix_connection_requested(self, dest_path: str) -> asyncssh.SSHUNIXSession[bytes] | bool:
        if dest_path not in _SOCKETS or self._machine.daemon is Daemon.STOPPED:
            return False
        return _Socket(self._machine, self._speak)


class _Socket(asyncssh.SSHUNIXSession[bytes]):
    """A connection to the Engine's socket."""

    def __init__(self, machine: Machine, speak: Callable[[Wire], Receiver]) -> None:
        self._machine = machine
        self._speak = speak
        self._receiver: Receiver | None = None

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        self._receiver = self._speak(chan)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        # The kernel takes what is sent to a hung process.
        if self._receiver is not None and self._machine.daemon is Daemon.RUNNING:
            self._receiver.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._receiver is not None:
            self._receiver.lost()


class _Sftp(asyncssh.SFTPServer):
    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], machine: Machine) -> None:
        super().__init__(channel)
        self._machine = machine

    def map_path(self, path: bytes) -> bytes:
        """Keep every request away from this machine's own files."""
        raise asyncssh.SFTPNoSuchFile(f"{path.decode(errors='replace')}: no such file")

    def realpath(self, path: bytes) -> bytes:
        return posixpath.normpath(posixpath.join(b"/home/" + USER.encode(), path))

    def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
        disk = self._machine.disk
        root = self._machine.root.encode()
        if path != root and not root.startswith(path.rstrip(b"/") + b"/"):
            self.map_path(path)
        free = disk.available // BLOCK
        return asyncssh.SFTPVFSAttrs(
            bsize=BLOCK,
            frsize=BLOCK,
            blocks=disk.size // BLOCK,
            bfree=free,
            bavail=free,
            files=disk.inodes,
            ffree=disk.inodes_free,
            favail=disk.inodes_free,
            namemax=255,
        )
