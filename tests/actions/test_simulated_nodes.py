"""Prunes of simulated nodes over real SSH and TLS connections, with a real database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from exporter.actions.execute import Target, execute
from exporter.actions.history import History
from exporter.actions.orphans import OrphanRemover
from exporter.actions.preview import would_go
from exporter.actions.prune import Progress
from exporter.actions.pruner import Farm, NodePruner
from exporter.app import look_once
from exporter.buildkit.node import NodeClient
from exporter.collectors import disk
from exporter.demo.blueprints import ENGINE_20, ENGINE_24, GIB, MIB, Blueprint, BuilderPlan
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.node import SimulatedNode
from exporter.model import Builder, Disk, PruneSettings, PruneTriggers, Threshold
from exporter.prunes import Outcome, PruneRecord, PruneRequest, Trigger, Verdict
from exporter.storage.database import open_database
from exporter.storage.orphans import OrphanStore
from exporter.storage.prunes import PruneStore
from exporter.transports import open_transport
from tests.actions.fakes import Ears

RECORDS = 120
LARGEST = 8 * MIB
KINDS = {
    "container": Blueprint("n1", builders=(BuilderPlan("farm0"),)),
    "container over TLS": Blueprint("n1", way="tls", builders=(BuilderPlan("farm0"),)),
    "before 0.17": Blueprint("n1", builders=(BuilderPlan("farm0", "v0.11.7"),)),
    "embedded": Blueprint("n1"),
    "embedded in 24": Blueprint("n1", engine=ENGINE_24),
    "embedded in 20.10": Blueprint("n1", engine=ENGINE_20),
    "buildkitd": Blueprint("n1", way="tls", remote=True, builders=(BuilderPlan("buildkitd"),)),
}


async def no_fetch(url: str) -> str:
    raise AssertionError(f"nobody asked for {url}")


@dataclass
class Stage:
    """A node, our connections to it, and a history."""

    node: SimulatedNode
    client: NodeClient
    builder: Builder
    store: PruneStore
    history: History
    orphans: OrphanStore

    @property
    def simulated(self) -> SimulatedBuilder:
        return self.node.machine.builders[self.builder.name]

    async def look_at_disk(self) -> Disk:
        if self.node.blueprint.way == "tls":
            return self.node.machine.disk
        return await disk.read(self.client, no_fetch)

    def fill(self, records: int = RECORDS) -> None:
        """Put records in, the first used longest ago."""
        now = time.time()
        for number in range(records):
            size = LARGEST - number % 3 * MIB
            self.simulated.cache.add(size=size, now=now - 9999, used=now - 9000 + number)

    async def prune(
        self, keep: int, on_progress: Callable[[Progress], None] = lambda _: None
    ) -> PruneRecord:
        request = PruneRequest(Trigger.MANUAL, "by hand", keep)
        target = Target(self.client, self.builder, self.look_at_disk)
        found = await execute(target, request, self.history, time.time, on_progress=on_progress)
        assert found is not None
        return found


Start = Callable[[Blueprint], Awaitable[Stage]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Raise a node of a kind."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(f"sqlite:///{tmp_path}/h.db"))

        async def raised(blueprint: Blueprint) -> Stage:
            node = await stack.enter_async_context(
                SimulatedNode(blueprint, rng=Random(7), clock=time.time)
            )
            client = NodeClient(node.spec, open_transport(node.spec, Random(7)))
            stack.push_async_callback(client.close)
            builder = next(b for b in await client.builders(fresh=True) if b.selected)
            store = PruneStore(database)
            return Stage(node, client, builder, store, History(store), OrphanStore(database))

        yield raised


@pytest.mark.parametrize("kind", KINDS)
async def test_shrinks_to_what_to_keep(kind: str, start: Start) -> None:
    """On every kind of builder; the oldest go, as was foretold; the disk has the space again."""
    stage = await start(KINDS[kind])
    stage.fill()
    keep = 300 * MIB
    foretold = would_go(await stage.client.control(stage.builder).disk_usage(), keep, all=False)
    newest = list(stage.simulated.cache.records)[-20:]
    free = stage.node.machine.disk.available
    seen: list[Progress] = []
    found = await stage.prune(keep, seen.append)
    assert keep - LARGEST <= stage.simulated.cache.size < keep
    assert set(newest) <= stage.simulated.cache.records.keys()
    assert (found.outcome, found.records) == (Outcome.OK, len(foretold))
    assert found.reclaimed == sum(record.Size for record in foretold)
    assert [progress.records for progress in seen] == list(range(1, found.records + 1))
    assert found.after.available == stage.node.machine.disk.available
    assert stage.node.machine.disk.available - free == pytest.approx(found.reclaimed, abs=MIB)
    (request,) = stage.simulated.prunes
    assert (request.reservedSpace, request.maxUsedSpace, request.minFreeSpace) == (keep, 0, 0)
    assert await stage.store.recent(10) == [found]


async def test_what_a_build_uses_stays(start: Start) -> None:
    stage = await start(KINDS["container"])
    stage.fill()
    stage.simulated.start_build()
    held = stage.simulated.cache.in_use()
    await stage.prune(1)
    assert stage.simulated.cache.records.keys() == held
    assert len(held) == 3


@pytest.mark.parametrize("fault", ["refuse", "stop_daemon"])
async def test_node_that_fails_in_the_middle(fault: str, start: Start) -> None:
    """As when it reboots: a failed prune, with what was done so far, and it can be tried again."""
    stage = await start(KINDS["container"])
    stage.fill(400)

    def fail(progress: Progress) -> None:
        if progress.records == 10:
            getattr(stage.node, fault)()

    found = await stage.prune(1, fail)
    assert found.outcome is Outcome.FAILED
    assert found.note
    assert 10 <= found.records < 400
    await stage.node.restore()
    stage.client.reset()
    assert (await stage.prune(1)).outcome is Outcome.OK


async def test_transport_that_is_lost_in_the_middle(start: Start) -> None:
    stage = await start(KINDS["container over TLS"])
    stage.fill(400)

    def fail(progress: Progress) -> None:
        if progress.records == 10:
            stage.client.transport.reset()

    assert (await stage.prune(1, fail)).outcome is Outcome.FAILED


async def test_a_look_that_finds_the_node_silent_does_not_cut_a_prune_short(start: Start) -> None:
    stage = await start(KINDS["container over TLS"])
    stage.fill(400)

    def give_up(progress: Progress) -> None:
        if progress.records == 10:
            stage.client.reset()

    found = await stage.prune(1, give_up)
    assert (found.outcome, found.records) == (Outcome.OK, 400)


async def test_stopped_in_the_middle(start: Start) -> None:
    stage = await start(KINDS["embedded"])
    stage.fill(400)
    begun = asyncio.Event()
    task = asyncio.create_task(stage.prune(1, lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    (found,) = await stage.store.recent(10)
    assert found.outcome is Outcome.INTERRUPTED


@pytest.mark.parametrize("kind", ["container", "embedded in 20.10", "buildkitd"])
async def test_daemon_waits_for_a_build_and_leaves_the_other_builder_alone(
    kind: str, start: Start
) -> None:
    """What the collectors saw is decided on; on 20.10 records in use stand for a build."""
    stage = await start(KINDS[kind])
    stage.fill()
    others = {
        name: other.cache.size
        for name, other in stage.node.machine.builders.items()
        if other is not stage.simulated
    }
    ref = stage.simulated.start_build()
    known = await look_once(stage.node.spec)
    ears = Ears()
    pruner = NodePruner(
        client=stage.client,
        settings=PruneSettings(
            Threshold(bytes=300 * MIB), PruneTriggers(cache_above=Threshold(bytes=400 * MIB))
        ),
        snapshot=lambda: known,
        look_at_disk=stage.look_at_disk,
        look_again=lambda: None,
        history=stage.history,
        farm=Farm(lambda: {"n1": {"linux/amd64"}}, 1),
        now=time.time,
        listener=ears,
        stop=asyncio.Event(),
    )
    await pruner.tick()
    assert stage.simulated.prunes == []
    stage.simulated.finish_build(ref, adds=[MIB])
    await pruner.tick()
    assert stage.simulated.cache.size < 300 * MIB
    assert [d.verdict for d in ears.heard] == [Verdict.WAIT_BUILDS, Verdict.PRUNE]
    for name, size in others.items():
        assert stage.node.machine.builders[name].cache.size == size


async def test_orphaned_volumes(start: Start) -> None:
    stage = await start(
        Blueprint(
            "n1", builders=(BuilderPlan("farm0"),), orphans=(("buildx_buildkit_x_state", GIB),)
        )
    )
    known = await look_once(stage.node.spec)
    later = 0.0
    removed: list[tuple[str, str]] = []
    remover = OrphanRemover(
        client=stage.client,
        remove_after=3600.0,
        snapshot=lambda: known,
        store=stage.orphans,
        now=lambda: time.time() + later,
        on_removed=lambda node, volume: removed.append((node, volume)),
    )
    await remover.tick()
    assert removed == []
    later = 3600.0
    known = await look_once(stage.node.spec)
    await remover.tick()
    assert removed == [("n1", "buildx_buildkit_x_state")]
    assert stage.node.machine.orphans == {}
