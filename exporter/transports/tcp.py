"""A daemon's TCP port, with mutual TLS or, where the user asked for it, without."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from cryptography import x509

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Certificates, Disk, TcpEndpoint, TlsFiles
from exporter.transports.base import Backoff
from exporter.transports.duplex import Duplex, StreamDuplex
from exporter.transports.translate import network_error


class TcpTransport:
    """Streams to a TCP port, each a connection of its own."""

    def __init__(
        self, endpoint: TcpEndpoint, daemon: Layer, backoff: Backoff, alpn: tuple[str, ...] = ()
    ) -> None:
        self._endpoint = endpoint
        self._daemon = daemon
        self._backoff = backoff
        self._alpn = alpn
        self._connects = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def connects(self) -> int:
        """Connections made so far."""
        return self._connects

    async def dial(self) -> Duplex:
        """Open a stream to the daemon."""
        reader, writer = await self._backoff.attempt(self._connect)
        self._writers.add(writer)
        # In TLS 1.3 a server refuses a client certificate only after the handshake, so that the
        # refusal shows up in the first read.
        return StreamDuplex(
            reader,
            writer,
            self._translator(Layer.TRANSPORT),
            on_close=lambda: self._writers.discard(writer),
        )

    def _translator(self, layer: Layer) -> Callable[[Exception], NodeError]:
        return lambda error: network_error(error, layer, self._endpoint.url)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, then shake hands: a hung daemon still has its port open."""
        reader, writer = await self._open_port()
        try:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._endpoint.tls is not None:
                await self._start_tls(writer, self._endpoint.tls)
        except BaseException:
            writer.transport.abort()
            raise
        self._connects += 1
        return reader, writer

    async def _open_port(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._endpoint.connect_timeout):
                return await asyncio.open_connection(self._endpoint.host, self._endpoint.port)
        except OSError as error:
            raise self._translator(Layer.TRANSPORT)(error) from error

    async def _start_tls(self, writer: asyncio.StreamWriter, files: TlsFiles) -> None:
        endpoint, timeout = self._endpoint, self._endpoint.connect_timeout
        try:
            # Made afresh for each connection, so that renewed files count at once.
            context = await asyncio.to_thread(client_context, files, self._alpn)
        except (OSError, ValueError) as error:
            raise NodeError(
                Layer.TRANSPORT,
                Reason.TLS,
                "the client's own certificate files (tls.ca, tls.cert, tls.key) can't be used: "
                f"{getattr(error, 'reason', None) or type(error).__name__}",
            ) from error
        try:
            async with asyncio.timeout(timeout):
                await writer.start_tls(
                    context,
                    server_hostname=files.server_name or endpoint.host,
                    ssl_handshake_timeout=timeout + 1,
                )
        except TimeoutError as error:
            raise NodeError(
                self._daemon,
                Reason.TIMEOUT,
                f"{endpoint.url}: the port is open, but the TLS handshake gets no answer",
            ) from error
        except OSError as error:
            raise self._translator(Layer.TRANSPORT)(error) from error

    async def probe(self) -> None:
        """Return when the port accepts a connection: the handshake is the daemon's part."""
        _, writer = await self._open_port()
        writer.transport.abort()

    async def statvfs(self, path: str) -> Disk:
        """Refuse: there is no such request over TCP."""
        raise UnsupportedError(
            Layer.TRANSPORT, Reason.PROTOCOL, f"no way to look at the filesystem of {path} over TCP"
        )

    async def certificates(self) -> Certificates | None:
        """Shake hands anew and read both certificates: a renewed one shows at the next look."""
        files = self._endpoint.tls
        if files is None:
            return None
        _, writer = await self._backoff.attempt(self._connect)
        try:
            server = writer.get_extra_info("peercert")
        finally:
            writer.transport.abort()
        client = await asyncio.to_thread(_ends, files.cert) if files.cert else None
        return Certificates(
            server=ssl.cert_time_to_seconds(server["notAfter"]) if server else None, client=client
        )

    def reset(self) -> None:
        """Abort every stream."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def close(self) -> None:
        """Abort every stream: there is no farewell in what we speak over them."""
        self.reset()


def client_context(files: TlsFiles, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Make a verifying TLS client context. Blocks: reads files.

    :raises OSError: when a file can't be read or used (``ssl.SSLError`` is one).
    """
    context = ssl.create_default_context(cafile=str(files.ca) if files.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.cert:
        # An encrypted key must fail, not ask on the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _ends(cert: Path) -> float:
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc.timestamp()
