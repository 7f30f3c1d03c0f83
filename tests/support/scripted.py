"""A Duplex without a network: the test says what arrives, and sees what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from exporter.transports.duplex import Duplex


class ScriptedDuplex(Duplex):
    """``feed`` and ``end`` play the other side; ``sent`` is what it was sent.

    ``answer`` is called with each write, and may feed an answer to it.
    """

    def __init__(self, answer: Callable[[ScriptedDuplex, bytes], None] | None = None) -> None:
        super().__init__()
        self._answer = answer
        self.sent = b""
        self.closed = False
        self.held = False

    def write(self, data: bytes) -> None:
        self.sent += data
        if self._answer is not None:
            # Not at once: a network does not answer within a write.
            asyncio.get_running_loop().call_soon(self._answer, self, data)

    async def drain(self) -> None:
        pass

    def hold(self, held: bool) -> None:
        self.held = held

    def close(self) -> None:
        self.closed = True
        self.end()


class Dials:
    """A dial function that hands out prepared streams, one after another."""

    def __init__(self, *streams: Duplex) -> None:
        self._streams = list(streams)
        self.made = 0

    def __call__(self) -> Awaitable[Duplex]:
        return self._next()

    async def _next(self) -> Duplex:
        self.made += 1
        return self._streams.pop(0)
