"""One kept SSH connection per node; streams to the daemon's socket are forwarded over it.

The daemon's socket is reached as OpenSSH's ``direct-streamlocal`` channel, which needs no shell
and no process on the node. Where the server refuses to forward, ``docker system dial-stdio``
(``buildctl dial-stdio`` for a bare buildkitd) run as a command is the other way to the same
stream.
"""

from __future__ import annotations

import asyncio
import shlex
from typing import Any, cast

import asyncssh

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Certificates, Disk, SshEndpoint
from exporter.transports.base import Backoff
from exporter.transports.duplex import Duplex
from exporter.transports.ssh_channel import ChannelDuplex, is_daemon
from exporter.transports.ssh_connect import SshConnection, connect, ssh_error
from exporter.transports.ssh_diagnose import why_refused

_SOCKETS = {
    Layer.ENGINE: "/var/run/docker.sock",
    Layer.BUILDKIT: "/run/buildkit/buildkitd.sock",
}


class SshTransport:
    """Streams over one SSH connection, made when first needed and again after it broke."""

    def __init__(self, endpoint: SshEndpoint, daemon: Layer, backoff: Backoff) -> None:
        self._endpoint = endpoint
        self._daemon = daemon
        self._backoff = backoff
        self._socket = endpoint.socket or _SOCKETS[daemon]
        self._connects = 0
        self._connection: SshConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._by_command = False
        self._connecting: asyncio.Task[SshConnection] | None = None
        self._opening_sftp = asyncio.Lock()

    @property
    def connects(self) -> int:
        """Connections made so far."""
        return self._connects

    async def _kept(self) -> SshConnection:
        """Return the connection, made by a task of its own: who waits may give up, it goes on."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        if self._connecting is None:
            self.reset()
            self._connecting = asyncio.create_task(
                self._connect(), name=f"connect/{self._endpoint.url}"
            )
            self._connecting.add_done_callback(_retrieve)
        attempt = self._connecting
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if not attempt.cancelled() or (waiting is not None and waiting.cancelling()):
                raise
            # The attempt was ended, not who waits for it.
            raise NodeError(
                Layer.TRANSPORT, Reason.PROTOCOL, f"{self._endpoint.url}: connecting was given up"
            ) from None

    async def _connect(self) -> SshConnection:
        try:
            self._connection = await self._backoff.attempt(lambda: connect(self._endpoint))
            self._connects += 1
            return self._connection
        finally:
            self._connecting = None

    async def dial(self) -> Duplex:
        """Open a stream to the daemon's socket.

        A refusal is looked into: SSH servers say no more than "open failed" for a missing
        socket, a missing right and forwarding that is switched off.
        """
        connection = await self._kept()
        if self._by_command:
            return await self._run(connection)
        try:
            _, session = await connection.client.create_unix_connection(
                self._channel_duplex, self._socket
            )
            return cast(ChannelDuplex, session)
        except asyncssh.ChannelOpenError as refusal:
            failure = await why_refused(self._sftp_client, self._socket, self._daemon)
            if failure.reason is not Reason.FORWARDING:
                raise failure from refusal
            try:
                stream = await self._run(connection)
            except NodeError:
                raise failure from refusal
            self._by_command = True
            return stream
        except (OSError, asyncssh.Error) as error:
            raise self._translate(error) from error

    def _channel_duplex(self) -> Any:
        """Make what asyncssh calls a session; it has such a session's methods."""
        return ChannelDuplex(self._translate)

    def _translate(self, error: Exception) -> NodeError:
        return ssh_error(error, self._endpoint)

    async def _run(self, connection: SshConnection) -> Duplex:
        """Reach the socket through a command on the node, where forwarding is refused."""
        address = shlex.quote(f"unix://{self._socket}")
        if self._daemon is Layer.ENGINE:
            command = f"docker -H {address} system dial-stdio"
        else:
            command = f"buildctl --addr {address} dial-stdio"
        if not self._by_command and not await is_daemon(
            await self._start(connection, command), self._daemon
        ):
            raise NodeError(self._daemon, Reason.FORWARDING, "the command does not help")
        return await self._start(connection, command)

    async def _start(self, connection: SshConnection, command: str) -> Duplex:
        try:
            _, session = await connection.client.create_session(
                self._channel_duplex, command, encoding=None
            )
        except (OSError, asyncssh.Error) as error:
            raise self._translate(error) from error
        return cast(ChannelDuplex, session)

    async def _sftp_client(self) -> asyncssh.SFTPClient:
        connection = await self._kept()
        async with self._opening_sftp:
            if self._sftp is None:
                try:
                    self._sftp = await connection.client.start_sftp_client()
                except (OSError, asyncssh.Error) as error:
                    if connection.closed:
                        raise self._translate(error) from error
                    raise UnsupportedError(
                        Layer.TRANSPORT,
                        Reason.PROTOCOL,
                        f"{self._endpoint.url}: the SSH server offers no sftp subsystem",
                    ) from error
            return self._sftp

    async def probe(self) -> None:
        """Return when the SSH server answers a request."""
        try:
            client = await self._sftp_client()
            await client.realpath(".")
        except UnsupportedError:
            return  # a refusal is an answer as well
        except asyncssh.SFTPError as error:
            if isinstance(error, asyncssh.SFTPNoConnection | asyncssh.SFTPConnectionLost):
                raise self._translate(error) from error

    async def statvfs(self, path: str) -> Disk:
        """Look at the filesystem by the ``statvfs@openssh.com`` request of SFTP."""
        client = await self._sftp_client()
        try:
            result = await client.statvfs(path)
        except asyncssh.SFTPOpUnsupported as error:
            raise UnsupportedError(
                Layer.TRANSPORT,
                Reason.PROTOCOL,
                f"{self._endpoint.url}: the SFTP server does not know statvfs@openssh.com",
            ) from error
        except asyncssh.SFTPNoSuchFile as error:
            raise UnsupportedError(
                Layer.TRANSPORT, Reason.PROTOCOL, f"{path} does not exist for the SFTP server"
            ) from error
        except asyncssh.SFTPPermissionDenied as error:
            raise NodeError(
                Layer.TRANSPORT, Reason.PERMISSION, f"may not look at {path}"
            ) from error
        except (OSError, asyncssh.Error) as error:
            self._sftp = None
            raise self._translate(error) from error
        return Disk(
            path=path,
            size=result.blocks * result.frsize,
            available=result.bavail * result.frsize,
            inodes=result.files,
            inodes_free=result.favail,
        )

    async def certificates(self) -> Certificates | None:
        """Return ``None``: there is no TLS."""
        return None

    def reset(self) -> None:
        """Abort the connection and all that goes over it. An attempt has a deadline of its own."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = None
        self._sftp = None
        self._by_command = False

    async def close(self) -> None:
        """End the connection in order, or abort it where the node does not answer."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            await connection.close()


def _retrieve(task: asyncio.Task[SshConnection]) -> None:
    """Take the result of an attempt that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
