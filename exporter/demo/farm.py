"""A farm of simulated nodes on loopback."""

from __future__ import annotations

import asyncio
import resource
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from types import TracebackType

from exporter.demo.blueprints import blueprints
from exporter.demo.credentials import Credentials
from exporter.demo.node import SimulatedNode
from exporter.demo.story import Story
from exporter.demo.tasks import Tasks
from exporter.model import NodeSpec


class DemoFarm:
    """An async context manager: inside of it ``nodes`` nodes answer.

    ``rng`` decides all that is left to chance; ``clock`` is the time, in seconds since the epoch.
    Without ``story`` nothing happens but what is made to happen.
    """

    def __init__(
        self, nodes: int, *, rng: Random, clock: Callable[[], float], story: bool = True
    ) -> None:
        self.nodes: tuple[SimulatedNode, ...] = ()
        self.storage_url: str
        """A database for a daemon that watches the farm; it goes with the farm."""
        self._count = nodes
        self._rng = rng
        self._clock = clock
        self._story = story
        self._stack = AsyncExitStack()

    @property
    def specs(self) -> tuple[NodeSpec, ...]:
        """How the nodes are reached."""
        return tuple(node.spec for node in self.nodes)

    def __getitem__(self, name: str) -> SimulatedNode:
        return next(node for node in self.nodes if node.blueprint.name == name)

    async def __aenter__(self) -> DemoFarm:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-farm-")))
            self.storage_url = f"sqlite:///{directory}/history.db"
            credentials = await asyncio.to_thread(Credentials, directory, self._clock)
            nodes = []
            for blueprint in blueprints(self._count):
                node = SimulatedNode(
                    blueprint, rng=self._rng, clock=self._clock, credentials=credentials
                )
                nodes.append(await stack.enter_async_context(node))
            self.nodes = tuple(nodes)
            if self._story:
                tasks = Tasks()
                stack.push_async_callback(tasks.stop)
                tasks.start(Story(nodes, self._rng, self._clock).run(), name="demo/story")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


def allow_many_sockets() -> None:
    """Raise this process's limit of open files as far as it goes: a node takes a handful."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
