"""The tasks of the simulation: each has a name, and the farm is their owner."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Runs tasks until :meth:`stop`, which raises what went wrong in any of them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []

    def start(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Run ``work`` as a task."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._failures.append(error)

    async def stop(self) -> None:
        """Cancel what runs and wait for it.

        :raises ExceptionGroup: with the failures of all tasks, if there are any.
        """
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await asyncio.sleep(0)  # the callbacks of tasks that just ended
        if self._failures:
            raise ExceptionGroup("the simulation failed", self._failures)
