"""The frames in which the Engine sends what an attached command writes."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.docker.rawstream import RawStream
from exporter.errors import Layer, NodeError, Reason
from tests.support.scripted import ScriptedDuplex

OUT, ERR = 1, 2

Frames = list[tuple[int, bytes]]


def framed(*frames: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack(">BxxxL", stream, len(data)) + data for stream, data in frames)


async def everything(stream: RawStream, size: int = 7) -> bytes:
    read = b""
    while data := await stream.read(size):
        read += data
    return read


@given(
    st.lists(st.tuples(st.sampled_from([OUT, ERR]), st.binary(max_size=60)), max_size=8),
    st.lists(st.integers(1, 30), max_size=30),
)
async def test_frames_may_be_cut_anywhere(frames: Frames, cuts: list[int]) -> None:
    """stdout is the stream, stderr is kept apart; empty frames mean nothing."""
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    data = framed(*frames)
    for size in cuts:
        if data:
            inner.feed(data[:size])
            data = data[size:]
    if data:
        inner.feed(data)
    inner.end()
    assert await everything(stream) == b"".join(data for kind, data in frames if kind == OUT)
    said = b"".join(data for kind, data in frames if kind == ERR)
    assert stream.stderr == said.decode(errors="replace").strip()


async def test_of_stderr_the_last_4_kib_are_kept() -> None:
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    inner.feed(framed((ERR, b"a" * 3000), (ERR, b"b" * 3000)))
    assert stream.stderr == "a" * 1096 + "b" * 3000


async def test_what_is_written_goes_to_stdin_as_it_is() -> None:
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    stream.write(b"hello")
    await stream.drain()
    assert inner.sent == b"hello"


async def test_a_terminals_stream_is_a_protocol_error() -> None:
    """A process with a terminal is sent without frames: then the first byte is text."""
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    inner.feed(b"PRI * HTTP/2.0\r\n")
    with pytest.raises(NodeError, match="bad frame") as caught:
        await stream.read(100)
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.PROTOCOL)
    assert inner.closed


async def test_the_failure_below_passes_through() -> None:
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    reading = asyncio.ensure_future(stream.read(1))
    await asyncio.sleep(0)
    failure = NodeError(Layer.TRANSPORT, Reason.PROTOCOL, "reset")
    inner.end(failure)
    with pytest.raises(NodeError) as caught:
        await reading
    assert caught.value is failure


async def test_unread_output_holds_the_command_until_it_is_read() -> None:
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    inner.feed(framed((OUT, bytes(300_000))))
    held = [inner.held]
    for _ in range(3):
        await stream.read(100_000)
    assert [*held, inner.held] == [True, False]


async def test_closing_ends_the_command_and_the_stream() -> None:
    inner = ScriptedDuplex()
    stream = RawStream(inner)
    stream.close()
    assert inner.closed
    assert await stream.read(1) == b""
