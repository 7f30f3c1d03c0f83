"""Work with a store that may fail: everything else goes on without it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from exporter.errors import StorageError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")

TIMEOUT = 6.0
"""Seconds: a little longer than SQLite waits for another writer, so that its own error is seen."""


class Tolerant:
    """Does one thing at a time with a store, each in bounded time.

    ``of``: what is kept there; ``done``: what is done with it, in a word.
    """

    def __init__(self, of: str, done: str = "written") -> None:
        self._of = of
        self._failed = f"the history can't be {done}"
        self._works = f"the history can be {done} again"
        self._broken = False
        self._working = asyncio.Lock()

    async def do(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Work with the store. ``None``: it failed, which was told once."""
        try:
            async with asyncio.timeout(TIMEOUT), self._working:
                done = await work()
        except (StorageError, TimeoutError) as error:
            if not self._broken:
                said = str(error) or "no answer in time"
                log.error(self._failed, of=self._of, error=said)
            self._broken = True
            return None
        if self._broken:
            log.info(self._works, of=self._of)
        self._broken = False
        return done
