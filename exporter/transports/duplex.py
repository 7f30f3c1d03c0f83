"""The one seam to the network: a byte stream in both directions."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from exporter.errors import NodeError

# Unread bytes above which the other side is held, and below which it may go on.
_HIGH, _LOW = 256 * 1024, 64 * 1024


class Receiver(Protocol):
    """Where bytes are pushed to. Its methods must not raise: nobody is there to catch it."""

    def data_received(self, data: bytes) -> None:
        """Take bytes as they arrive."""
        ...

    def end_received(self, failure: NodeError | None) -> None:
        """Learn, once, that nothing more comes; ``failure`` says why where it was no plain end."""
        ...


class Duplex(ABC):
    """A byte stream in both directions.

    What arrives waits for :meth:`read`. A parser that wants it at once is given it by
    :meth:`forward`: that saves a reading task, and a round through the event loop per message.
    Subclasses bring the sending half, and call :meth:`feed` and :meth:`end` for the other.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._held = False
        self._ended = False
        self._failure: NodeError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._receiver: Receiver | None = None

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer. Once the stream has ended they go nowhere."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until the send buffer has room again."""

    @abstractmethod
    def close(self) -> None:
        """Give the stream up at once, in both directions; may be called twice."""

    @abstractmethod
    def hold(self, held: bool) -> None:
        """Keep the other side from sending, or let it go on."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come; there may still be something unread."""
        return self._ended

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes as soon as there are any, ``b""`` at the end.

        :raises NodeError: when the stream broke.
        """
        while not self._unread:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._unread[:n])
        del self._unread[:n]
        if self._held and len(self._unread) <= _LOW:
            self._set_held(False)
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was read too much."""
        self._unread[:0] = data

    def forward(self, receiver: Receiver) -> None:
        """Push all that is unread, and all that comes, to ``receiver`` instead."""
        self._receiver = receiver
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            receiver.data_received(data)
        if self._held:
            self._set_held(False)
        if self._ended:
            receiver.end_received(self._failure)

    def feed(self, data: bytes) -> None:
        """Take bytes from the other side."""
        if self._ended:
            return
        if self._receiver is not None:
            self._receiver.data_received(data)
            return
        self._unread += data
        self._wake()
        if not self._held and len(self._unread) > _HIGH:
            self._set_held(True)

    def end(self, failure: NodeError | None = None) -> None:
        """Note that nothing more comes."""
        if self._ended:
            return
        self._ended = True
        self._failure = failure
        self._wake()
        if self._receiver is not None:
            self._receiver.end_received(failure)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_held(self, held: bool) -> None:
        self._held = held
        self.hold(held)


class TransportDuplex(Duplex, asyncio.Protocol):
    """A :class:`Duplex` that is the protocol of an asyncio transport.

    An asyncssh channel has the same methods under the same names. ``translate`` turns the
    exceptions of that library into the family of :mod:`exporter.errors`.
    """

    def __init__(self, translate: Callable[[Exception], NodeError]) -> None:
        super().__init__()
        self._translate = translate
        self._transport: Any = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.feed(data)

    def eof_received(self) -> None:
        """End: nothing that we speak goes on after the other side's last word."""
        self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and let whoever waits for room see it."""
        self.end(self._translate(exc) if exc is not None else None)
        self._writable.set()

    def pause_writing(self) -> None:
        """Let :meth:`drain` wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let :meth:`drain` return."""
        self._writable.set()

    def write(self, data: bytes) -> None:
        """Put bytes into the send buffer."""
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the send buffer has room again."""
        await self._writable.wait()

    def hold(self, held: bool) -> None:
        """Stop reading from the transport, or go on."""
        if self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Give the stream up at once."""
        self.end()
        self._transport.abort()
