"""HTTP/1.1 over a stream: whole answers, upgrades, and what is neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.docker.http1 import HttpConnection, Response
from exporter.errors import Layer, NodeError, Reason
from exporter.transports.duplex import Duplex
from tests.support.scripted import ScriptedDuplex

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"
)


def connection(*answers: bytes, end: bool = False) -> tuple[HttpConnection, ScriptedDuplex]:
    """Make a connection whose peer sends the next of ``answers`` for each write."""
    left = list(answers)

    def answer(duplex: ScriptedDuplex, _: bytes) -> None:
        if left:
            duplex.feed(left.pop(0))
        if end:
            duplex.end()

    duplex = ScriptedDuplex(answer)
    return HttpConnection(duplex), duplex


@given(st.lists(st.integers(1, 40), max_size=20))
async def test_an_answer_may_be_cut_anywhere(cuts: list[int]) -> None:
    def answer(duplex: ScriptedDuplex, _: bytes) -> None:
        rest = CHUNKED
        for size in cuts:
            if rest:
                duplex.feed(rest[:size])
                rest = rest[size:]
        duplex.feed(rest)

    response = await HttpConnection(ScriptedDuplex(answer)).request("GET", "/_ping")
    assert response.body == b"hello, world"
    assert response.headers["api-version"] == "1.45"


async def test_a_connection_is_used_again_after_a_whole_answer() -> None:
    http, duplex = connection(CHUNKED, b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await http.request("GET", "/one")).status == 200
    assert http.reusable
    assert (await http.request("DELETE", "/two")).status == 204
    assert duplex.sent.startswith(b"GET /one HTTP/1.1\r\n")
    assert b"DELETE /two HTTP/1.1\r\n" in duplex.sent


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nOK",
    ],
)
async def test_a_connection_that_the_peer_wants_to_end_is_not_used_again(answer: bytes) -> None:
    http, _ = connection(answer)
    assert (await http.request("GET", "/")).body == b"OK"
    assert not http.reusable


async def test_a_connection_that_ended_is_not_used_again() -> None:
    http, duplex = connection(CHUNKED)
    await http.request("GET", "/")
    duplex.end()
    assert not http.reusable


async def test_a_body_is_sent_as_json_with_its_length() -> None:
    http, duplex = connection(CHUNKED)
    await http.request("POST", "/x", b"{}")
    assert b"Content-Type: application/json\r\nContent-Length: 2\r\n" in duplex.sent
    assert duplex.sent.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "not an HTTP answer"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "not an HTTP answer|ended before"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n", "not an HTTP answer"),
        (b"", "not an HTTP answer|ended before"),
    ],
)
async def test_what_is_no_answer_is_a_protocol_error(answer: bytes, said: str) -> None:
    http, _ = connection(answer, end=True)
    with pytest.raises(NodeError, match=said) as caught:
        await http.request("GET", "/_ping")
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)
    assert not http.reusable


async def test_the_streams_failure_passes_through() -> None:
    failure = NodeError(Layer.TRANSPORT, Reason.TIMEOUT, "no answer to keepalives")
    http = HttpConnection(ScriptedDuplex(lambda duplex, _: duplex.end(failure)))
    with pytest.raises(NodeError) as caught:
        await http.request("GET", "/_ping")
    assert caught.value is failure


async def test_an_upgrade_gives_the_stream_with_what_already_came() -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    http, duplex = connection(head + b"first bytes")
    stream = await http.upgrade("POST", "/grpc", "h2c")
    assert isinstance(stream, Duplex)
    assert await stream.read(5) == b"first"
    assert await stream.read(100) == b" bytes"
    assert b"Connection: Upgrade\r\nUpgrade: h2c\r\n" in duplex.sent
    duplex.feed(b"more")
    assert await stream.read(100) == b"more"


async def test_a_refused_upgrade_gives_the_answer_and_ends_the_connection() -> None:
    body = b'HTTP/1.1 409 Conflict\r\nContent-Length: 11\r\n\r\n{"a": "no"}'
    http, duplex = connection(body)
    answer = await http.upgrade("POST", "/exec/1/start", "tcp", b"{}")
    assert answer == Response(409, {"content-length": "11"}, b'{"a": "no"}')
    assert duplex.closed
