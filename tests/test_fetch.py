"""Getting a node_exporter's page, and what is said of pages that can't be got."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from exporter import fetch
from exporter.collectors import disk
from exporter.collectors.runner import Clock, run
from exporter.errors import NodeError, Reason
from exporter.fetch import Fetcher
from exporter.model import DiskSettings, NodeSpec, Snapshot
from tests.collectors.fakes import SPEC, FakeNode
from tests.support.pki import Authority

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says this to everybody; its URL, with a password."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://me:geheim@127.0.0.1:{port}/metrics"


async def got(url: str) -> str:
    async with Fetcher() as fetcher, asyncio.timeout(20):
        return await fetcher.text(url)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (OK + b"Content-Length: 4\r\n\r\nload", "load"),
        (OK + b"\r\nto the end", "to the end"),
        (OK + b"Content-Length: 2\r\n\r\n\xff!", "\ufffd!"),
    ],
    ids=["plain", "no length", "no Unicode"],
)
async def test_a_page(answer: bytes, text: str) -> None:
    async with answering(answer) as url:
        assert await got(url) == text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answers HTTP 503"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "answers as no HTTP server does"),
        (b"", "answers as no HTTP server does"),
        (OK + b"Content-Length: 9\r\n\r\nhalf", "answers as no HTTP server does"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: ftp://me:geheim@x/\r\n\r\n",
            "answers as no HTTP server does",
        ),
    ],
    ids=["busy", "not HTTP", "nothing", "cut off", "elsewhere"],
)
async def test_no_page(answer: bytes, said: str) -> None:
    async with answering(answer) as url:
        with pytest.raises(NodeError) as caught:
            await got(url)
    assert caught.value.reason is Reason.PROTOCOL
    assert f"the node_exporter at 127.0.0.1 {said}" in caught.value.detail
    assert "geheim" not in caught.value.detail


async def test_an_endless_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_MAX_PAGE", 10)
    async with answering(OK + b"\r\n0123456789x") as url:
        with pytest.raises(NodeError, match="endless"):
            await got(url)


async def test_nobody_listens() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(NodeError) as caught:
            await got(f"http://127.0.0.1:{nobody.getsockname()[1]}/")
    assert caught.value.reason is Reason.REFUSED


async def test_a_certificate_of_an_authority_that_is_not_known(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", ssl=context)
    async with server:
        with pytest.raises(NodeError, match="the server's certificate: ") as caught:
            await got(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert caught.value.reason is Reason.TLS


async def test_a_name_that_does_not_resolve() -> None:
    with pytest.raises(NodeError) as caught:
        await got("http://nowhere.invalid/")
    assert caught.value.reason is Reason.DNS


async def test_a_silent_one_is_ended_by_the_collection_s_deadline() -> None:
    """The fetcher has none of its own."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        spec = NodeSpec(
            "n1",
            SPEC.endpoint,
            disk=DiskSettings(node_exporter=url),
            collect=type(SPEC.collect)(timeout=0.2),
        )
        clock = Clock(time.time, time.monotonic)
        async with Fetcher() as fetcher, asyncio.timeout(20):
            node = FakeNode(spec)
            outcome = await run(disk.COLLECTOR, node.client, Snapshot(spec), clock, fetcher.text)
    assert outcome.error is not None
    assert outcome.error.reason is Reason.TIMEOUT
