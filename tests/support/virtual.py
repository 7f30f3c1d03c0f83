"""An event loop whose time passes at once: hours of waiting in milliseconds of test."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _NoWait(selectors.DefaultSelector):
    """Never waits: tells the loop how long it would have."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Look at what is ready; if nothing is, time jumps to the next timer."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the test waits for what can never happen")
        if not ready and timeout:
            self.waited += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code over fakes only: neither sockets nor threads keep up with its time."""

    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        """Seconds since the loop was made, as its timers count them."""
        return self._no_wait.waited
