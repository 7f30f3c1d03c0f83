"""What protocols of the simulation write to, and what hands them what was read."""

from __future__ import annotations

from typing import Protocol


class Wire(Protocol):
    """The sending side of a connection: transports of asyncio and channels of asyncssh are ones."""

    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """End the connection when all is sent."""

    def is_closing(self) -> bool:
        """Whether it ended, or is about to."""


class Receiver(Protocol):
    """A protocol on top of a wire."""

    def receive(self, data: bytes) -> None:
        """Take what was read."""

    def lost(self) -> None:
        """Learn that the connection ended."""
