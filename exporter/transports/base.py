"""What every transport offers, and the back-off that all of them share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol, TypeVar

from exporter.errors import NodeError
from exporter.model import Certificates, Disk
from exporter.transports.duplex import Duplex

T = TypeVar("T")

FIRST_DELAY = 0.5


class Transport(Protocol):
    """The way to one node. Every method may raise :class:`~exporter.errors.NodeError`.

    Nothing here has a deadline of its own but making a connection: the caller sets one around
    the whole of what it wants (``asyncio.timeout``), and gives the connection up by
    :meth:`reset` when the node turned silent.
    """

    @property
    def connects(self) -> int:
        """Connections made so far."""
        ...

    async def dial(self) -> Duplex:
        """Open a stream to the daemon of the node (the Docker Engine, or a bare buildkitd)."""
        ...

    async def probe(self) -> None:
        """Return when the machine itself is seen to answer, whatever its daemon does."""
        ...

    async def statvfs(self, path: str) -> Disk:
        """Look at the filesystem that holds ``path`` on the node.

        :raises UnsupportedError: when this transport can't.
        """
        ...

    async def certificates(self) -> Certificates | None:
        """Return when the certificates of a fresh handshake end; ``None`` without TLS."""
        ...

    def reset(self) -> None:
        """Give up the kept connection, and all streams over it, at once."""
        ...

    async def close(self) -> None:
        """End in order. The transport can't be used afterwards."""
        ...


class Backoff:
    """Spaces out attempts that fail: twice as long after each, with jitter, up to ``cap``.

    An attempt that comes too early is not made; it raises the last failure again. So callers
    ask as often as they like, and a node with a wrong key does not get its log filled.
    """

    def __init__(
        self,
        cap: float,
        rng: Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cap = cap
        self._rng = rng
        self._clock = clock
        self._delay = 0.0
        self._not_before = 0.0
        self._last: NodeError | None = None

    async def attempt(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Run ``connect`` unless its last failure is too recent."""
        if self._last is not None and self._clock() < self._not_before:
            raise type(self._last)(self._last.layer, self._last.reason, self._last.detail)
        try:
            result = await connect()
        except NodeError as error:
            self._delay = min(self._cap, max(FIRST_DELAY, self._delay * 2))
            self._not_before = self._clock() + self._delay * self._rng.uniform(0.5, 1.0)
            self._last = error
            raise
        self._delay = 0.0
        self._last = None
        return result
