"""A node with two builders whose builds are followed, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

from exporter.buildkit.builders import EMBEDDED
from exporter.builds import Builds
from exporter.collectors.build_follower import BuildFollower
from exporter.collectors.build_ledger import Ledger
from exporter.collectors.runner import Clock, Outcome
from tests.collectors.fakes import FARM0, NOW, SPEC, FakeNode
from tests.collectors.histories import FakeBuildKit

NODE = replace(SPEC, collect=replace(SPEC.collect, reachability=15.0, timeout=10.0))


class Followed:
    """A node with two builders that is followed."""

    def __init__(self) -> None:
        self.docker, self.farm0 = FakeBuildKit(), FakeBuildKit()
        self.node = FakeNode(spec=NODE, known=(EMBEDDED, FARM0))
        self.node.controls.update(docker=self.docker, farm0=self.farm0)
        self.told: list[Outcome] = []
        self.answers = True
        self.ledger = Ledger()
        loop = asyncio.get_running_loop()
        self.follower = BuildFollower(
            self.node.client,
            self.ledger,
            Clock(lambda: NOW + loop.time(), loop.time),
            Random(7),
            self.told.append,
            lambda: self.answers,
        )

    @property
    def builds(self) -> dict[str, Builds]:
        """What was told last."""
        return {builds.builder: builds for builds in self.told[-1].value}

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Of the container builder: what runs, what ended, what failed."""
        farm0 = self.builds["farm0"]
        return farm0.running, farm0.counts.total, farm0.counts.failed


@asynccontextmanager
async def following() -> AsyncIterator[Followed]:
    followed = Followed()
    task = asyncio.create_task(followed.follower.run())
    try:
        yield followed
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
