"""Canaries wired together: over a real database, and builds that the test makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from exporter import canarying
from exporter.actions.calendar import Calendar
from exporter.actions.canary import CanaryProgress, CanaryResult
from exporter.actions.canary_history import AT_START, CanaryHistory
from exporter.buildkit.node import NodeClient
from exporter.canaries import CanaryOutcome, CanaryRecord
from exporter.canarying import Canaries, open_canaries
from exporter.collectors.supervisor import Supervisor
from exporter.errors import StorageError
from exporter.exposition.canaries import CanaryMetrics
from exporter.model import Builder, CanarySettings, Disk
from exporter.snapshots import Snapshots
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database
from tests.actions.canary_farm import STEPS, MemoryCanaries, canary
from tests.actions.facts import disk, snapshot
from tests.actions.fakes import FakeBuilder, FakeNode, clock

HOURLY = CanarySettings(every=3600.0)
PATIENCE = 30.0


@dataclass
class Farm:
    """A node, and what is around its canaries."""

    url: str
    builds: int = 0
    going: asyncio.Event = field(default_factory=asyncio.Event)
    """A build has begun."""
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    cleaning: float = 0.0
    """Seconds that a build takes to end, cancelled too."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    async def build(
        self,
        client: NodeClient,
        builder: Builder,
        platform: str,
        settings: CanarySettings,
        on_progress: Callable[[CanaryProgress], None],
    ) -> CanaryResult:
        del client, builder, platform, settings, on_progress
        self.builds += 1
        self.going.set()
        try:
            await self.may_end.wait()
        finally:
            await asyncio.sleep(self.cleaning)
        return CanaryResult(CanaryOutcome.OK, STEPS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Canaries]:
        """Run the canaries as the daemon does; they are stopped at the end."""
        self.registry = CollectorRegistry()
        node = _Node({"farm0": FakeBuilder()})
        node.spec = replace(node.spec, canary=HOURLY)
        snapshots = Snapshots([node.spec])
        snapshots.update("n1", lambda _: replace(snapshot(), node=node.spec))
        watched = cast(Supervisor, _Watched(node.client))

        async def fetch(url: str) -> str:
            raise AssertionError(url)

        async with open_database(self.url) as database:
            canaries = await open_canaries(
                database,
                [watched],
                snapshots,
                fetch,
                2,
                None,
                CanaryMetrics(self.registry, {"n1"}),
                time.time,
                build=self.build,
            )
            stop = asyncio.Event()
            task = asyncio.create_task(canaries.run(stop))
            try:
                yield canaries
            finally:
                stop.set()
                async with asyncio.timeout(PATIENCE):
                    await task

    async def remember(self, record: CanaryRecord) -> None:
        async with open_database(self.url) as database:
            await CanaryStore(database).save(record)

    def value(self, name: str) -> float | None:
        labels = {"node": "n1", "builder": "farm0", "platform": "linux/amd64", "emulated": "false"}
        return self.registry.get_sample_value(f"buildfarm_canary_{name}", labels)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.02)


class _Node(FakeNode):
    """Its disk is looked at as that of any node."""

    async def engine_info(self) -> None:
        return None

    @property
    def transport(self) -> _Node:
        return self

    async def statvfs(self, path: str) -> Disk:
        return replace(disk(), path=path)


@dataclass
class _Watched:
    client: NodeClient


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(f"sqlite:///{tmp_path}/history.db")


async def test_what_was_missed_is_built_and_kept(farm: Farm) -> None:
    await farm.remember(canary(time.time() - 7200))
    farm.may_end.set()
    async with farm.running() as canaries:
        await farm.until(lambda: farm.value("runs_total") == 1)
        found = await canaries.recent(10)
        assert len(found) == 2
        assert canaries.latest == {found[0].key: found[0]}
        assert await canaries.recent_multiarch(10) == []
    assert farm.builds == 1


async def test_what_was_not_missed_is_not(farm: Farm) -> None:
    """The last one is shown, and counts as none of this process."""
    await farm.remember(canary(time.time() - 60))
    async with farm.running():
        await farm.until(lambda: farm.value("runs_total") == 0)
        assert farm.value("success") == 1
    assert farm.builds == 0


async def test_stopped_in_the_middle_of_a_build_it_ends(farm: Farm) -> None:
    """The build is given up, and not noted: the next start makes it up."""
    await farm.remember(canary(time.time() - 7200))
    async with farm.running():
        await asyncio.wait_for(farm.going.wait(), PATIENCE)
    farm.may_end.set()
    async with farm.running() as canaries:
        await farm.until(lambda: farm.value("runs_total") == 1)
        assert len(await canaries.recent(10)) == 2
    assert farm.builds == 2


async def test_a_node_that_is_slow_to_clean_up_is_not_waited_for_long(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canarying, "_GRACE", 0.2)
    farm.cleaning = 3600.0
    await farm.remember(canary(time.time() - 7200))
    async with farm.running():
        await asyncio.wait_for(farm.going.wait(), PATIENCE)


async def test_what_says_nothing_of_this_farm_is_in_the_history_only(farm: Farm) -> None:
    """Nodes that are gone, and what was built too long ago."""
    await farm.remember(canary(time.time() - 60, node="gone"))
    await farm.remember(canary(time.time() - 60, platform="linux/arm64"))
    await farm.remember(canary(time.time() - AT_START - 60))
    async with farm.running() as canaries:
        assert set(canaries.latest) == {("n1", "farm0", "linux/arm64")}
        assert farm.value("success") is None
        assert len(await canaries.recent(10)) == 3


async def test_what_is_not_written_yet_is_written_at_the_end() -> None:
    store = MemoryCanaries(broken=True)
    history = CanaryHistory(store, lambda _: None, lambda _: None)
    await history.note(canary())
    store.broken = False
    stop = asyncio.Event()
    stop.set()
    canaries = Canaries(cast(Any, store), history, frozenset(), [], None, Calendar(), clock)
    await canaries.run(stop)
    assert store.rows == {canary().id: canary()}


class SilentStore(MemoryCanaries):
    """A database behind a connection that is dead and does not know it."""

    async def recent(self, *wish: Any) -> list[CanaryRecord]:
        await asyncio.Event().wait()
        raise AssertionError(wish)


@pytest.mark.virtual_time
async def test_a_database_that_is_silent_is_not_waited_for_long() -> None:
    store = SilentStore()
    history = CanaryHistory(store, lambda _: None, lambda _: None)
    canaries = Canaries(cast(Any, store), history, frozenset({"n1"}), [], None, Calendar(), clock)
    async with asyncio.timeout(60):
        with pytest.raises(StorageError, match="no answer in time"):
            await canaries.recent(100)


class NewerStore(MemoryCanaries):
    """It holds at first what only a newer replica can read."""

    async def latest(self, since: float = 0.0) -> list[CanaryRecord]:
        if asyncio.get_running_loop().time() < 20.0:
            raise ValueError("'paused' is not a valid CanaryOutcome")
        return await super().latest(since)


@pytest.mark.virtual_time
async def test_a_bug_in_reading_the_history_does_not_end_the_canaries() -> None:
    store = NewerStore()
    await store.save(canary(clock()))
    history = CanaryHistory(store, lambda _: None, lambda _: None)
    canaries = Canaries(cast(Any, store), history, frozenset({"n1"}), [], None, Calendar(), clock)
    stop = asyncio.Event()
    task = asyncio.create_task(canaries.run(stop))
    with capture_logs() as logs:
        await asyncio.sleep(20)
        assert [entry["log_level"] for entry in logs] == ["error"]
        assert not canaries.latest
        await asyncio.sleep(15)
    assert list(canaries.latest.values()) == list(store.rows.values())
    stop.set()
    await task
