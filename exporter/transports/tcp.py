"""A daemon's TCP port, with mutual TLS or, where the user asked for it, without."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

from cryptography import x509

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Certificates, Disk, TcpEndpoint, TlsFiles
from exporter.transports.base import Backoff
from exporter.transports.duplex import Duplex, TransportDuplex
from exporter.transports.translate import network_error


class _TlsDuplex(TransportDuplex):
    """A stream that knows what it means when it ends before it began.

    In TLS 1.3 a server refuses a client's certificate after the handshake. Its alert says so, but
    is lost when the reset behind it meets a request of ours that is on the way.
    """

    def __init__(self, translate: Callable[[Exception], NodeError], url: str) -> None:
        super().__init__(translate)
        self._url = url
        self._silent = True

    def data_received(self, data: bytes) -> None:
        self._silent = False
        super().data_received(data)

    def end(self, failure: NodeError | None = None) -> None:
        if self._silent and (failure is None or failure.reason is Reason.PROTOCOL):
            what = "the server hung up after the handshake, as if it refused our certificate"
            failure = NodeError(Layer.TRANSPORT, Reason.TLS, f"{self._url}: {what}")
        super().end(failure)

    def close(self) -> None:
        self._silent = False
        super().close()


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
        self._streams: WeakSet[TransportDuplex] = WeakSet()

    @property
    def connects(self) -> int:
        """Connections made so far."""
        return self._connects

    async def dial(self) -> Duplex:
        """Open a stream to the daemon."""
        stream, _ = await self._backoff.attempt(self._connect)
        self._streams.add(stream)
        return stream

    def _translate(self, error: Exception) -> NodeError:
        return network_error(error, Layer.TRANSPORT, self._endpoint.url)

    def _make_stream(self) -> TransportDuplex:
        if self._endpoint.tls is None:
            return TransportDuplex(self._translate)
        return _TlsDuplex(self._translate, self._endpoint.url)

    async def _connect(self) -> tuple[TransportDuplex, asyncio.Transport]:
        """Connect, then shake hands: a hung daemon still has its port open."""
        transport, stream = await self._open_port()
        try:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._endpoint.tls is not None:
                transport = await self._start_tls(transport, stream, self._endpoint.tls)
                stream.connection_made(transport)
        except BaseException:
            transport.abort()
            raise
        self._connects += 1
        return stream, transport

    async def _open_port(self) -> tuple[asyncio.Transport, TransportDuplex]:
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(endpoint.connect_timeout):
                return await asyncio.get_running_loop().create_connection(
                    self._make_stream, endpoint.host, endpoint.port
                )
        except OSError as error:
            raise self._translate(error) from error

    async def _start_tls(
        self, plain: asyncio.Transport, stream: TransportDuplex, files: TlsFiles
    ) -> asyncio.Transport:
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
                secured = await asyncio.get_running_loop().start_tls(
                    plain,
                    stream,
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
            raise self._translate(error) from error
        if secured is None:
            raise self._translate(ConnectionResetError(errno.ECONNRESET, "closed"))
        return secured

    async def probe(self) -> None:
        """Return when the port accepts a connection: the handshake is the daemon's part."""
        transport, _ = await self._open_port()
        transport.abort()

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
        _, transport = await self._backoff.attempt(self._connect)
        try:
            server = transport.get_extra_info("peercert")
        finally:
            transport.abort()
        client = await asyncio.to_thread(_ends, files.cert) if files.cert else None
        return Certificates(
            server=ssl.cert_time_to_seconds(server["notAfter"]) if server else None, client=client
        )

    def reset(self) -> None:
        """Abort every stream."""
        for stream in tuple(self._streams):
            stream.close()
        self._streams.clear()

    async def close(self) -> None:
        """Abort every stream: there is no farewell in what we speak over them."""
        self.reset()


def client_context(files: TlsFiles, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Make a verifying TLS client context. Blocks: reads files.

    :raises OSError: when a file can't be read or used (``ssl.SSLError`` is one).
    """
    context = ssl.create_default_context(cafile=str(files.ca) if files.ca else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 sets it; certificates made as Docker's documentation says lack what it demands.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if files.cert:
        # An encrypted key must fail, not ask on the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: "")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _ends(cert: Path) -> float:
    return x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc.timestamp()
