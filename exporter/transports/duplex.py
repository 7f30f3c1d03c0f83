"""The one seam to the network: a byte stream in both directions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from exporter.errors import NodeError


class Duplex(Protocol):
    """A byte stream in both directions, as asyncio's and asyncssh's stream pairs offer it.

    ``read`` returns ``b""`` at the end of the stream. Reading and draining raise
    :class:`~exporter.errors.NodeError`; writing only fills a buffer.
    """

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes as soon as there are any, ``b""`` at the end."""
        ...

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer."""
        ...

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        ...

    def close(self) -> None:
        """Give the stream up at once, in both directions; may be called twice."""
        ...


class _Reader(Protocol):
    async def read(self, n: int = -1) -> bytes: ...


class _Writer(Protocol):
    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


class StreamDuplex:
    """A reader and a writer of asyncio or asyncssh as a :class:`Duplex`.

    ``translate`` turns the exceptions of that library into the family of
    :mod:`exporter.errors`.
    """

    def __init__(
        self,
        reader: _Reader,
        writer: _Writer,
        translate: Callable[[Exception], NodeError],
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._translate = translate
        self._on_close = on_close

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes, ``b""`` at the end of the stream."""
        try:
            return await self._reader.read(n)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise self._translate(error) from error

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        try:
            await self._writer.drain()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            raise self._translate(error) from error

    def close(self) -> None:
        """Give the stream up at once."""
        self._writer.close()
        if self._on_close is not None:
            self._on_close()
            self._on_close = None


class PrefixedDuplex:
    """A :class:`Duplex` of which some bytes were already read, by the HTTP parser before us."""

    def __init__(self, prefix: bytes, inner: Duplex) -> None:
        self._prefix = prefix
        self._inner = inner

    async def read(self, n: int) -> bytes:
        """Return what was read before, then what comes."""
        if self._prefix:
            data, self._prefix = self._prefix[:n], self._prefix[n:]
            return data
        return await self._inner.read(n)

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer."""
        self._inner.write(data)

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        await self._inner.drain()

    def close(self) -> None:
        """Give the stream up at once."""
        self._inner.close()
