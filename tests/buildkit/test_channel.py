"""gRPC: how a call's outcome is read from what HTTP/2 brings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from exporter.errors import NodeError, Reason, RemoteError, UnsupportedError
from tests.buildkit.peer import GRPC, OK, Peer, message

METHOD = "/moby.buildkit.v1.Control/DiskUsage"

Headers = list[tuple[str, str]]


def status(code: int, said: str = "") -> Headers:
    return [("grpc-status", str(code)), ("grpc-message", said)]


def trailers_only(fields: Headers) -> Peer:
    """Make a server that fails at once: the status is in the only headers."""

    def answer(peer: Peer, stream: int) -> None:
        peer.h2.send_headers(stream, [*GRPC, *fields], end_stream=True)

    return Peer(answer)


def answering(data: bytes, trailers: Headers, head: Headers = GRPC) -> Peer:
    def answer(peer: Peer, stream: int) -> None:
        peer.h2.send_headers(stream, head)
        peer.h2.send_data(stream, data)
        peer.h2.send_headers(stream, trailers, end_stream=True)

    return Peer(answer)


async def test_messages_of_a_stream_come_one_by_one() -> None:
    peer = answering(message(b"one") + message(b"") + message(b"three"), OK)
    replies = peer.channel().stream(METHOD, b"")
    assert [reply async for reply in replies] == [b"one", b"", b"three"]


async def test_messages_before_a_failure_are_not_lost() -> None:
    replies = answering(message(b"one"), status(13, "oops")).channel().stream(METHOD, b"")
    assert await anext(replies) == b"one"
    with pytest.raises(RemoteError, match="oops"):
        await anext(replies)


async def test_early_hints_are_passed_over() -> None:
    def answer(peer: Peer, stream: int) -> None:
        peer.h2.send_headers(stream, [(":status", "103")])
        peer.answer(stream, b"hello")

    assert await Peer(answer).channel().unary(METHOD, b"") == b"hello"


@pytest.mark.parametrize(
    ("code", "reason"), [(2, Reason.BUILDKIT), (7, Reason.PERMISSION), (16, Reason.PERMISSION)]
)
@pytest.mark.parametrize("peer", [trailers_only, lambda fields: answering(b"", fields)])
async def test_the_servers_error_is_told_in_its_words(
    code: int, reason: Reason, peer: Callable[[Headers], Peer]
) -> None:
    """Percent-encoded text is decoded; the status may come alone or after the answer's head."""
    server = peer(status(code, "caf%C3%A9: 100%25"))
    with pytest.raises(RemoteError) as caught:
        await server.channel().unary(METHOD, b"")
    assert caught.value.detail == "n1/farm0: DiskUsage: café: 100%"
    assert (caught.value.status, caught.value.reason) == (code, reason)


async def test_an_error_without_text_names_its_number() -> None:
    with pytest.raises(RemoteError, match="gRPC status 14"):
        await trailers_only([("grpc-status", "14")]).channel().unary(METHOD, b"")


async def test_an_unknown_method_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="unknown method Info"):
        await trailers_only(status(12, "unknown method Info")).channel().unary(METHOD, b"")


@pytest.mark.parametrize(
    ("peer", "said", "reason"),
    [
        (answering(b"", [("x", "y")]), "ended without a status", Reason.PROTOCOL),
        (answering(b"", [("grpc-status", "fine")]), "ended without a status", Reason.PROTOCOL),
        (answering(message(b"abc")[:-1], OK), "ended within a message", Reason.PROTOCOL),
        (answering(b"\1\0\0\0\0", OK), "compressed", Reason.PROTOCOL),
        (answering(b"\0\xff\xff\xff\xff", OK), "too large", Reason.PROTOCOL),
        (answering(b"", OK), "success without an answer", Reason.PROTOCOL),
        (answering(2 * message(b"a"), OK), "more than one answer", Reason.PROTOCOL),
        (
            answering(b"<html>", OK, [(":status", "200"), ("content-type", "text/html")]),
            "not gRPC",
            Reason.PROTOCOL,
        ),
        (answering(b"", [("x", "y")], [(":status", "502")]), "HTTP 502", Reason.PROTOCOL),
        (answering(b"", [("x", "y")], [(":status", "403")]), "HTTP 403", Reason.PERMISSION),
    ],
)
async def test_what_is_no_answer_is_said_so(peer: Peer, said: str, reason: Reason) -> None:
    channel = peer.channel()
    with pytest.raises(NodeError, match=said) as caught:
        await channel.unary(METHOD, b"")
    assert caught.value.reason is reason
    assert caught.value.detail.startswith("n1/farm0: DiskUsage: ")
    assert channel.usable
