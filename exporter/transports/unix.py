"""A daemon's socket on this machine."""

from __future__ import annotations

import asyncio
import os

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Certificates, Disk, UnixEndpoint
from exporter.transports.duplex import Duplex, TransportDuplex
from exporter.transports.translate import network_error


class UnixTransport:
    """Streams to a unix socket. This machine is always there, so no layer ``transport`` fails."""

    def __init__(self, endpoint: UnixEndpoint, daemon: Layer) -> None:
        self._endpoint = endpoint
        self._daemon = daemon
        self._connects = 0
        self._statvfs: asyncio.Future[os.statvfs_result] | None = None

    @property
    def connects(self) -> int:
        """Connections made so far."""
        return self._connects

    async def dial(self) -> Duplex:
        """Open a stream to the daemon's socket."""
        path = self._endpoint.path
        try:
            async with asyncio.timeout(self._endpoint.connect_timeout):
                transport, stream = await asyncio.get_running_loop().create_unix_connection(
                    lambda: TransportDuplex(self._translate), path
                )
        except (FileNotFoundError, ConnectionRefusedError) as error:
            reason = Reason.ENGINE if self._daemon is Layer.ENGINE else Reason.BUILDKIT
            what = (
                "does not exist" if isinstance(error, FileNotFoundError) else "is not listened to"
            )
            raise NodeError(self._daemon, reason, f"the socket {path} {what}") from error
        except OSError as error:
            raise self._translate(error) from error
        if transport.get_extra_info("peername") is None:
            # asyncio takes a full queue of connections (EAGAIN) for success.
            transport.abort()
            raise NodeError(
                self._daemon, Reason.TIMEOUT, f"the socket {path}: the daemon accepts nobody"
            )
        self._connects += 1
        return stream

    def _translate(self, error: Exception) -> NodeError:
        return network_error(error, self._daemon, f"the socket {self._endpoint.path}")

    async def probe(self) -> None:
        """Return at once: this machine answers."""

    async def statvfs(self, path: str) -> Disk:
        """Look at the filesystem here. UnsupportedError where the path is not in our own view."""
        # A dead network filesystem can hold the thread for ever: never more than one of them.
        if self._statvfs is None or self._statvfs.done():
            loop = asyncio.get_running_loop()
            self._statvfs = loop.run_in_executor(None, os.statvfs, path)
        try:
            result = await asyncio.shield(self._statvfs)
        except FileNotFoundError as error:
            raise UnsupportedError(
                Layer.TRANSPORT,
                Reason.PROTOCOL,
                f"{path} is not visible to the exporter; mount it there",
            ) from error
        except OSError as error:
            raise network_error(error, Layer.TRANSPORT, path) from error
        return Disk(
            path=path,
            size=result.f_blocks * result.f_frsize,
            available=result.f_bavail * result.f_frsize,
            inodes=result.f_files,
            inodes_free=result.f_favail,
        )

    async def certificates(self) -> Certificates | None:
        """Return ``None``: there is no TLS."""
        return None

    def reset(self) -> None:
        """Do nothing: no connection is kept here."""

    async def close(self) -> None:
        """Do nothing: no connection is kept here."""
