"""What every stream does: reading, pushing, holding the other side, ending."""

from __future__ import annotations

import asyncio
import socket

import pytest

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.duplex import TransportDuplex
from exporter.transports.translate import network_error
from tests.support.scripted import ScriptedDuplex

FAILURE = NodeError(Layer.TRANSPORT, Reason.PROTOCOL, "reset")


class Sink:
    """Keeps what is pushed."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[NodeError | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def end_received(self, failure: NodeError | None) -> None:
        self.ends.append(failure)


async def test_read_waits_and_gives_at_most_what_was_asked() -> None:
    stream = ScriptedDuplex()
    reading = asyncio.ensure_future(stream.read(3))
    await asyncio.sleep(0)
    assert not reading.done()
    stream.feed(b"hello")
    assert await reading == b"hel"
    assert await stream.read(10) == b"lo"


async def test_what_came_before_the_end_is_read_first() -> None:
    stream = ScriptedDuplex()
    stream.feed(b"last")
    stream.end(FAILURE)
    assert stream.ended
    assert await stream.read(10) == b"last"
    with pytest.raises(NodeError) as caught:
        await stream.read(10)
    assert caught.value is FAILURE


async def test_a_plain_end_is_empty_again_and_again() -> None:
    stream = ScriptedDuplex()
    stream.end()
    stream.end(FAILURE)
    stream.feed(b"too late")
    assert [await stream.read(1), await stream.read(1)] == [b"", b""]


async def test_a_reader_that_gave_up_loses_nothing() -> None:
    stream = ScriptedDuplex()
    reading = asyncio.ensure_future(stream.read(10))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    stream.feed(b"hello")
    assert await stream.read(10) == b"hello"


async def test_a_receiver_gets_what_was_unread_and_all_that_comes() -> None:
    stream, sink = ScriptedDuplex(), Sink()
    stream.feed(b"bc")
    stream.unread(b"a")
    stream.forward(sink)
    stream.feed(b"d")
    stream.end(FAILURE)
    stream.end()
    assert sink.data == b"abcd"
    assert sink.ends == [FAILURE]


async def test_a_receiver_that_comes_late_learns_of_the_end() -> None:
    stream, sink = ScriptedDuplex(), Sink()
    stream.end()
    stream.forward(sink)
    assert sink.ends == [None]


async def test_a_sender_is_held_while_nobody_reads() -> None:
    stream = ScriptedDuplex()
    stream.feed(bytes(300_000))
    held = [stream.held]
    await stream.read(300_000)
    assert [*held, stream.held] == [True, False]


async def test_a_receiver_lets_a_held_sender_go_on() -> None:
    stream = ScriptedDuplex()
    stream.feed(bytes(300_000))
    stream.forward(Sink())
    assert not stream.held


async def pair() -> tuple[TransportDuplex, socket.socket]:
    """Connect a stream to a socket of the test's."""
    here, there = socket.socketpair()
    there.setblocking(False)
    _, stream = await asyncio.get_running_loop().create_unix_connection(
        lambda: TransportDuplex(lambda e: network_error(e, Layer.ENGINE, "it")), sock=here
    )
    return stream, there


async def test_over_a_socket_bytes_go_both_ways() -> None:
    stream, there = await pair()
    loop = asyncio.get_running_loop()
    stream.write(b"hello")
    await stream.drain()
    assert await loop.sock_recv(there, 100) == b"hello"
    await loop.sock_sendall(there, b"world")
    assert await stream.read(100) == b"world"
    stream.close()
    stream.close()
    assert await loop.sock_recv(there, 100) == b""
    there.close()


async def test_over_a_socket_the_peers_end_is_noticed_and_writing_harmless() -> None:
    stream, there = await pair()
    there.close()
    assert await stream.read(1) == b""
    stream.write(b"nobody there")
    await stream.drain()
    assert stream.ended
    stream.close()


async def test_over_a_socket_a_reset_is_translated() -> None:
    stream, there = await pair()
    stream.connection_lost(ConnectionResetError(104, "reset by peer"))
    with pytest.raises(NodeError, match="it: the connection was reset") as caught:
        await stream.read(1)
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)
    stream.close()
    there.close()


async def test_over_a_socket_drain_waits_for_the_peer() -> None:
    stream, there = await pair()
    loop = asyncio.get_running_loop()
    stream.write(bytes(5_000_000))
    draining = asyncio.ensure_future(stream.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    left = 5_000_000
    while left:
        left -= len(await loop.sock_recv(there, 1_000_000))
    await draining
    stream.close()
    there.close()


async def test_over_a_socket_a_sender_is_held_while_nobody_reads() -> None:
    stream, there = await pair()
    loop = asyncio.get_running_loop()
    sending = asyncio.ensure_future(loop.sock_sendall(there, bytes(5_000_000)))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not sending.done()
    left = 5_000_000
    while left:
        left -= len(await stream.read(1_000_000))
    await sending
    stream.close()
    there.close()
