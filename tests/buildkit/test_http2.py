"""HTTP/2 against another implementation of it, and against peers that break the rules."""

from __future__ import annotations

import asyncio

import h2.events
import pytest
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.buildkit import frames as f
from exporter.buildkit.channel import Channel
from exporter.buildkit.http2 import WINDOW
from exporter.errors import Layer, NodeError, Reason
from tests.buildkit.peer import GRPC, OK, Peer, message
from tests.support.scripted import ScriptedDuplex

METHOD = "/moby.buildkit.v1.Control/Info"
HELLO = f.settings({})


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_call_is_one_write_and_its_answer_needs_no_task() -> None:
    """Preface, settings, headers and body leave together: over SSH each write is a packet."""
    writes: list[bytes] = []
    duplex = ScriptedDuplex(lambda _, data: writes.append(data))
    call = asyncio.create_task(Channel(duplex, "n").unary(METHOD, b"hello"))
    await settle()
    assert len(writes) == 1
    assert writes[0].startswith(f.PREFACE)
    assert writes[0].endswith(message(b"hello"))
    call.cancel()


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(1, 40_000), max_size=30),
    messages=st.lists(st.binary(max_size=30_000), min_size=1, max_size=5),
    pad=st.sampled_from([None, 0, 7, 255]),
)
async def test_frames_may_be_cut_anywhere(
    cuts: list[int], messages: list[bytes], pad: int | None
) -> None:
    """The same messages come out, wherever the bytes are cut; padded and continued frames too."""
    peer = Peer()
    channel = peer.channel()
    call = asyncio.create_task(_all(channel))
    await settle()
    peer.h2.send_headers(1, [*GRPC, ("x-long", "y" * 20_000)])
    for body in messages:
        data = message(body)
        for start in range(0, len(data), 10_000):
            peer.h2.send_data(1, data[start : start + 10_000], pad_length=pad)
    peer.h2.send_headers(1, OK, end_stream=True)
    data = peer.h2.data_to_send()
    for size in cuts:
        if data:
            peer.duplex.feed(data[:size])
            data = data[size:]
    if data:
        peer.duplex.feed(data)
    assert await call == messages


async def _all(channel: Channel) -> list[bytes]:
    return [reply async for reply in channel.stream(METHOD, b"")]


async def test_many_calls_share_a_connection() -> None:
    """Answers find their calls, in whatever order they come."""
    peer = Peer()
    channel = peer.channel()
    calls = [asyncio.create_task(channel.unary(METHOD, b"%d" % n)) for n in range(5)]
    await settle()
    for stream in (9, 1, 5, 3, 7):
        peer.answer(stream, b"answer to " + peer.body[stream][5:])
    peer.flush()
    assert await asyncio.gather(*calls) == [b"answer to %d" % n for n in range(5)]


async def test_a_long_request_waits_for_the_peers_window() -> None:
    """Not a byte more than the peer allows is sent (h2 checks that), and all of it arrives."""
    peer = Peer(
        lambda peer, stream: peer.answer(stream, b"done"),
        {SettingCodes.INITIAL_WINDOW_SIZE: 1000, SettingCodes.MAX_FRAME_SIZE: 20_000},
    )
    request = bytes(range(256)) * 1000
    assert await peer.channel().unary(METHOD, request) == b"done"
    assert peer.body[1] == message(request)


async def test_a_request_goes_on_when_a_setting_opens_its_window() -> None:
    peer = Peer(
        lambda peer, stream: peer.answer(stream, b"done"), {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    )
    call = asyncio.create_task(peer.channel().unary(METHOD, b"hello"))
    await settle()
    assert not peer.body
    peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    peer.flush()
    assert await call == b"done"


async def test_an_answer_larger_than_the_window_arrives_whole() -> None:
    """We say "go on" as we take it; h2 would refuse to send more than we allow."""
    peer = Peer()
    channel = peer.channel()
    call = asyncio.create_task(channel.unary(METHOD, b""))
    await settle()
    body = bytes(3 * WINDOW)
    data = message(body)
    peer.h2.send_headers(1, GRPC)
    while data:
        size = min(peer.h2.local_flow_control_window(1), 16384, len(data))
        assert size > 0
        peer.h2.send_data(1, data[:size])
        data = data[size:]
        peer.flush()
        await asyncio.sleep(0)
    peer.h2.send_headers(1, OK, end_stream=True)
    peer.flush()
    assert await call == body


async def test_a_stream_that_nobody_reads_is_held() -> None:
    """A peer can't fill our memory: its window stays shut until messages are taken."""
    peer = Peer()
    replies = peer.channel().stream(METHOD, b"")
    first = asyncio.ensure_future(anext(replies))
    await settle()
    peer.h2.send_headers(1, GRPC)
    sent = 0
    while size := min(peer.h2.local_flow_control_window(1), 16384):
        peer.h2.send_data(1, message(bytes(size - 5)) if size > 5 else bytes(size))
        peer.flush()
        await asyncio.sleep(0)
        sent += size
        assert sent <= 2 * WINDOW
    await first
    for _ in range(300):
        await anext(replies)
    await settle()
    assert peer.h2.local_flow_control_window(1) > 0
    await replies.aclose()


async def test_settings_and_pings_are_answered() -> None:
    peer = Peer(lambda peer, stream: peer.answer(stream, b""))
    await peer.channel().unary(METHOD, b"")
    peer.h2.ping(b"12345678")
    peer.flush()
    await settle()
    assert peer.saw(h2.events.SettingsAcknowledged)
    assert peer.saw(h2.events.PingAckReceived)


async def test_a_cancelled_call_is_cancelled_on_the_server_and_the_rest_goes_on() -> None:
    peer = Peer()
    channel = peer.channel()
    given_up = asyncio.create_task(channel.unary(METHOD, b""))
    other = asyncio.create_task(channel.unary(METHOD, b""))
    await settle()
    peer.h2.ping(b"12345678")
    peer.flush()
    given_up.cancel()
    await settle()
    resets = peer.saw(h2.events.StreamReset)
    assert [(r.stream_id, r.error_code) for r in resets] == [(1, f.CANCEL)]
    peer.answer(3, b"still here")
    peer.flush()
    assert await other == b"still here"
    assert channel.usable


async def test_a_connection_that_was_silent_all_through_a_call_counts_as_dead() -> None:
    """Else each look at a node whose route is gone would wait on the same dead stream."""
    peer = Peer(lambda peer, stream: peer.answer(stream, b""))
    channel = peer.channel()
    await channel.unary(METHOD, b"")
    peer.on_request = lambda peer, stream: None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await channel.unary(METHOD, b"")
    assert not channel.usable
    assert peer.duplex.closed


async def test_goaway_lets_old_calls_end_and_refuses_new_ones() -> None:
    peer = Peer()
    channel = peer.channel()
    calls = [asyncio.create_task(channel.unary(METHOD, b"")) for _ in range(2)]
    await settle()
    # h2 sends nothing after its own GOAWAY, as a peer that leaves in order does.
    peer.duplex.feed(f.frame(f.GOAWAY, 0, 0, f.LONG.pack(1) + f.LONG.pack(0) + b"restarting"))
    assert not channel.usable
    with pytest.raises(NodeError, match="n1/farm0: BuildKit is leaving: restarting"):
        await calls[1]
    with pytest.raises(NodeError, match="leaving"):
        await channel.unary(METHOD, b"")
    assert not peer.duplex.closed
    peer.answer(1, b"last words")
    peer.flush()
    assert await calls[0] == b"last words"
    assert peer.duplex.closed


async def test_a_reset_stream_fails_its_call_only() -> None:
    peer = Peer()
    channel = peer.channel()
    call = asyncio.create_task(channel.unary(METHOD, b""))
    await settle()
    peer.h2.reset_stream(1, 2)
    peer.flush()
    with pytest.raises(NodeError, match="broke the request off") as caught:
        await call
    assert caught.value.reason is Reason.BUILDKIT
    assert channel.usable


async def test_the_streams_own_failure_is_what_calls_fail_with() -> None:
    peer = Peer()
    call = asyncio.create_task(peer.channel().unary(METHOD, b""))
    await settle()
    failure = NodeError(Layer.TRANSPORT, Reason.TIMEOUT, "no answer to keepalives")
    peer.duplex.end(failure)
    with pytest.raises(NodeError) as caught:
        await call
    assert caught.value is failure


async def test_a_plain_end_is_buildkits() -> None:
    duplex = ScriptedDuplex()
    duplex.end()
    with pytest.raises(NodeError, match="n: BuildKit ended the connection") as caught:
        await Channel(duplex, "n").unary(METHOD, b"")
    assert caught.value.reason is Reason.BUILDKIT


@pytest.mark.parametrize(
    ("bytes_", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "does not speak HTTP/2"),
        (f.frame(f.PING, 0, 0, bytes(8)), "does not speak HTTP/2"),
        (HELLO + f.frame(f.DATA, 0, 1, bytes(16385)), "a frame larger"),
        (HELLO + f.frame(f.DATA, 0, 3, b"x"), "never opened"),
        (HELLO + f.frame(f.DATA, 0, 0, b"x"), "never opened"),
        (HELLO + f.frame(f.HEADERS, f.END_HEADERS, 2, b"\x88"), "never opened"),
        (HELLO + f.frame(f.DATA, f.PADDED, 1, b"\x05abc"), "padding"),
        (HELLO + f.frame(f.DATA, f.PADDED, 1, b""), "padding"),
        (HELLO + f.frame(f.CONTINUATION, f.END_HEADERS, 1, b"\x88"), "continuation of nothing"),
        (HELLO + f.frame(f.HEADERS, 0, 1, b"\x88") + f.frame(f.PING, 0, 0, bytes(8)), "do not end"),
        (HELLO + f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), "malformed"),
        (HELLO + f.frame(f.PUSH_PROMISE, f.END_HEADERS, 1, f.LONG.pack(2)), "a push"),
        (HELLO + f.frame(f.SETTINGS, 0, 0, b"12345"), "malformed"),
        (HELLO + f.frame(f.SETTINGS, 0, 1), "settings of a stream"),
        (f.settings({f.INITIAL_WINDOW_SIZE: 2**31}), "window larger"),
        (f.settings({f.MAX_FRAME_SIZE: 100}), "frame size out of range"),
        (HELLO + f.window_update(0, 0), "window update out of range"),
        (HELLO + f.window_update(1, 2**31 - 1), "window update out of range"),
        (HELLO + f.frame(f.PING, 0, 0, b"1234"), "malformed ping"),
        (HELLO + f.frame(f.RST_STREAM, 0, 1, b"12"), "malformed"),
        (HELLO + f.frame(f.GOAWAY, 0, 0, b"123"), "malformed"),
        (
            HELLO
            + f.frame(f.HEADERS, 0, 1, bytes(16384))
            + 4 * f.frame(f.CONTINUATION, 0, 1, bytes(16384)),
            "headers larger",
        ),
    ],
)
async def test_a_peer_that_breaks_the_rules_loses_the_connection(bytes_: bytes, said: str) -> None:
    duplex = ScriptedDuplex()
    call = asyncio.create_task(Channel(duplex, "n").unary(METHOD, b""))
    await settle()
    duplex.feed(bytes_)
    with pytest.raises(NodeError, match=said) as caught:
        await call
    assert (caught.value.layer, caught.value.reason) == (Layer.BUILDKIT, Reason.PROTOCOL)
    assert duplex.closed


async def test_more_data_than_allowed_is_refused() -> None:
    duplex = ScriptedDuplex()
    replies = Channel(duplex, "n").stream(METHOD, b"")
    first = asyncio.ensure_future(anext(replies))
    await settle()
    duplex.feed(HELLO)
    piece = message(bytes(16379))
    for _ in range(3 * WINDOW // len(piece)):
        duplex.feed(f.frame(f.DATA, 0, 1, piece))
    await first
    with pytest.raises(NodeError, match="more data than its window allows"):
        _ = [reply async for reply in replies]
    assert duplex.closed


@given(st.binary(max_size=400), st.booleans())
async def test_garbage_is_a_clear_failure(garbage: bytes, greeted: bool) -> None:
    """Whatever arrives, the call ends, and with nothing but a NodeError."""
    duplex = ScriptedDuplex()
    call = asyncio.create_task(Channel(duplex, "n").unary(METHOD, b""))
    await settle()
    duplex.feed(HELLO * greeted + garbage)
    duplex.end()
    with pytest.raises(NodeError):
        await call
