"""A daemon's TCP port, with TLS and without."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import TcpEndpoint, TlsFiles
from exporter.transports.base import Backoff
from exporter.transports.tcp import TcpTransport, client_context
from tests.support.pki import Authority, Issued
from tests.support.relay import Relay


@dataclass
class Daemon:
    """An echo server that demands a client's certificate, as a Docker Engine does."""

    authority: Authority
    port: int = 0
    protocols: tuple[str | None, ...] = ()

    @asynccontextmanager
    async def serving(self, pair: Issued | None) -> AsyncIterator[None]:
        context = self.context(pair) if pair is not None else None
        server = await asyncio.start_server(self._echo, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    def context(self, pair: Issued) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(self.authority.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pair.cert, pair.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secured = writer.get_extra_info("ssl_object")
        self.protocols += (secured.selected_alpn_protocol() if secured else None,)
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except OSError:
            pass  # the client went away
        finally:
            writer.transport.abort()


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(Authority(tmp_path / "pki"))


def transport(
    port: int,
    files: TlsFiles | None,
    host: str = "127.0.0.1",
    timeout: float = 10.0,
    alpn: tuple[str, ...] = ("http/1.1",),
) -> TcpTransport:
    endpoint = TcpEndpoint(host, port, files, timeout)
    return TcpTransport(endpoint, Layer.ENGINE, Backoff(0.0, Random(1)), alpn)


async def echo(there: TcpTransport) -> bytes:
    stream = await there.dial()
    try:
        stream.write(b"hello")
        return await stream.read(100)
    finally:
        stream.close()


async def fails(there: TcpTransport) -> tuple[Layer, Reason, str]:
    with pytest.raises(NodeError) as caught:
        await echo(there)
    return caught.value.layer, caught.value.reason, caught.value.detail


@pytest.mark.parametrize(("offered", "agreed"), [("h2", "h2"), ("http/1.1", "http/1.1")])
async def test_mutual_tls(daemon: Daemon, offered: str, agreed: str) -> None:
    """Go's gRPC servers demand that "h2" was agreed on."""
    async with daemon.serving(daemon.authority.issue("127.0.0.1")):
        there = transport(daemon.port, daemon.authority.client(), alpn=(offered,))
        assert await echo(there) == b"hello"
        assert there.connects == 1
        assert daemon.protocols == (agreed,)
        await there.close()


async def test_plain_tcp_where_the_user_asked_for_it(daemon: Daemon) -> None:
    async with daemon.serving(None):
        there = transport(daemon.port, None)
        assert await echo(there) == b"hello"
        assert await there.certificates() is None


async def test_certificates_made_as_docker_documents_it_are_good_enough(daemon: Daemon) -> None:
    """They lack key identifiers, which Python 3.13's strict check demands."""
    context = client_context(daemon.authority.client())
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


async def test_a_name_that_does_not_resolve(daemon: Daemon) -> None:
    layer, reason, _ = await fails(transport(1, None, host="node1.invalid"))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.DNS)


async def test_a_closed_port_refuses(daemon: Daemon) -> None:
    async with daemon.serving(None):
        pass
    layer, reason, said = await fails(transport(daemon.port, None))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.REFUSED)
    assert said == f"tcp://127.0.0.1:{daemon.port}: connection refused"


async def test_no_route(daemon: Daemon) -> None:
    """The kernel refuses a TCP connection to the broadcast address so."""
    layer, reason, _ = await fails(transport(1, None, host="255.255.255.255"))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.UNREACHABLE)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Give a port whose queue is full: connecting gets no answer at all."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        first.setblocking(False)
        second.setblocking(False)
        for other in (first, second):
            other.connect_ex(deaf.getsockname())
        yield deaf.getsockname()[1]


async def test_silence_times_out(deaf_port: int) -> None:
    layer, reason, _ = await fails(transport(deaf_port, None, timeout=0.1))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.TIMEOUT)


async def test_a_daemon_that_does_not_shake_hands_is_told_from_a_silent_machine(
    daemon: Daemon,
) -> None:
    async with daemon.serving(daemon.authority.issue("127.0.0.1")), Relay(daemon.port) as relay:
        relay.freeze()
        there = transport(relay.port, daemon.authority.client(), timeout=0.2)
        layer, reason, said = await fails(there)
        await there.probe()
    assert (layer, reason) == (Layer.ENGINE, Reason.TIMEOUT)
    assert "the port is open, but the TLS handshake gets no answer" in said


@pytest.mark.parametrize(
    ("host", "days", "said"),
    [
        ("127.0.0.1", -1, "certificate has expired"),
        ("node2.example.com", 10, "IP address mismatch"),
    ],
)
async def test_a_server_certificate_that_is_not_good(
    daemon: Daemon, host: str, days: float, said: str
) -> None:
    async with daemon.serving(daemon.authority.issue(host, days=days)):
        layer, reason, text = await fails(transport(daemon.port, daemon.authority.client()))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.TLS)
    assert said in text


async def test_the_servers_name_may_be_another_than_the_hosts(daemon: Daemon) -> None:
    files = daemon.authority.client(server_name="node2.example.com")
    async with daemon.serving(daemon.authority.issue("node2.example.com")):
        assert await echo(transport(daemon.port, files)) == b"hello"


async def test_an_authority_we_do_not_know(daemon: Daemon, tmp_path: Path) -> None:
    files = Authority(tmp_path / "other").client()
    async with daemon.serving(daemon.authority.issue("127.0.0.1")):
        layer, reason, said = await fails(transport(daemon.port, files))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.TLS)
    assert "certificate" in said


@pytest.mark.parametrize("whose", ["nobody", "stranger"])
async def test_a_client_certificate_that_the_server_refuses(
    daemon: Daemon, tmp_path: Path, whose: str
) -> None:
    """In TLS 1.3 that shows after the handshake, at the first read."""
    stranger = replace(Authority(tmp_path / "other").client(), ca=daemon.authority.ca)
    files = stranger if whose == "stranger" else TlsFiles(daemon.authority.ca)
    context = daemon.context(daemon.authority.issue("127.0.0.1"))

    def refuse(listener: socket.socket) -> None:
        # asyncio's server would close without the alert that real ones send.
        plain, _ = listener.accept()
        with plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener))
        layer, reason, _ = await fails(transport(listener.getsockname()[1], files))
        await refusing
    assert (layer, reason) == (Layer.TRANSPORT, Reason.TLS)


async def test_a_port_that_speaks_no_tls(daemon: Daemon) -> None:
    async with daemon.serving(None):
        layer, reason, _ = await fails(transport(daemon.port, daemon.authority.client()))
    assert (layer, reason) == (Layer.TRANSPORT, Reason.TLS)


async def test_files_of_our_own_that_cannot_be_used_are_not_named(
    daemon: Daemon, tmp_path: Path
) -> None:
    """A path of a key is nobody's business; the configuration's words for it are enough."""
    good = daemon.authority.client()
    locked = daemon.authority.issue("locked", password=b"secret")
    (tmp_path / "damaged.pem").write_text("no certificate")
    rows = [
        replace(good, cert=tmp_path / "damaged.pem"),
        replace(good, ca=tmp_path / "missing.pem"),
        replace(good, cert=locked.cert, key=locked.key),
    ]
    async with daemon.serving(daemon.authority.issue("127.0.0.1")):
        for files in rows:
            layer, reason, said = await fails(transport(daemon.port, files))
            assert (layer, reason) == (Layer.TRANSPORT, Reason.TLS)
            assert "tls.ca, tls.cert, tls.key" in said
            assert str(tmp_path) not in said


async def test_when_both_certificates_end(daemon: Daemon) -> None:
    """Each look shakes hands anew, so that a renewed certificate shows."""
    client = daemon.authority.issue("client", days=3)
    files = TlsFiles(daemon.authority.ca, client.cert, client.key)
    for days in (5, 50):
        pair = daemon.authority.issue("127.0.0.1", days=days)
        async with daemon.serving(pair):
            ends = await transport(daemon.port, files).certificates()
        assert ends is not None
        assert (ends.server, ends.client) == (pair.not_after, client.not_after)


async def test_reset_ends_every_stream(daemon: Daemon) -> None:
    async with daemon.serving(daemon.authority.issue("127.0.0.1")):
        there = transport(daemon.port, daemon.authority.client())
        streams = [await there.dial() for _ in range(2)]
        there.reset()
        assert [await stream.read(1) for stream in streams] == [b"", b""]


async def test_a_cut_connection_is_a_protocol_error(daemon: Daemon) -> None:
    async with daemon.serving(None), Relay(daemon.port) as relay:
        stream = await transport(relay.port, None).dial()
        stream.write(b"hello")
        assert await stream.read(100) == b"hello"
        relay.cut()
        with pytest.raises(NodeError) as caught:
            await stream.read(100)
        stream.close()
    assert (caught.value.layer, caught.value.reason) == (Layer.TRANSPORT, Reason.PROTOCOL)


async def test_there_is_no_statvfs_over_tcp(daemon: Daemon) -> None:
    with pytest.raises(UnsupportedError, match="no way to look at the filesystem"):
        await transport(1, None).statvfs("/var/lib/docker")
