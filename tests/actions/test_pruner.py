"""The daemon's pruner of a node: when it asks, waits, acts and leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from exporter.actions.history import History
from exporter.actions.pruner import TICK, Farm
from exporter.errors import Layer, Reason, RemoteError
from exporter.model import Builder, PruneCritical, PruneSettings, Snapshot
from exporter.prunes import Outcome, PruneRecord, Trigger, Verdict
from tests.actions.facts import FARM0, FARM1, GIB, NOW, cache, record, settings, share, snapshot
from tests.actions.fakes import LOST, Bench, FakeBuilder, FakeNode, MemoryStore, clock

pytestmark = pytest.mark.virtual_time

REFUSED = RemoteError(Layer.BUILDKIT, Reason.BUILDKIT, "history is off", 2)


def fresh(
    *builders: Builder, at: Callable[[], float] = clock, **sizes: float
) -> Callable[[], Snapshot]:
    """A node that was looked at just now, whenever one asks; ``sizes`` of caches in GiB."""

    def look() -> Snapshot:
        caches = [cache(name, size, at=at()) for name, size in sizes.items()]
        return snapshot(*caches, disk_at=at(), builders=builders or (FARM0,))

    return look


def bench(
    builder: FakeBuilder,
    wanted: PruneSettings | None = None,
    look: Callable[[], Snapshot] | None = None,
    **more: Any,
) -> Bench:
    """A node with one builder, whose cache is always seen as it is."""

    def as_it_is() -> Snapshot:
        return fresh(farm0=builder.own)()

    node = more.pop("node", None) or FakeNode({"farm0": builder})
    return Bench(node, wanted or settings(), look or as_it_is, **more)


async def run_for(around: Bench, seconds: float) -> None:
    """Let the pruner run for so long."""
    task = asyncio.create_task(around.pruner().run())
    await asyncio.wait([task], timeout=seconds)
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


def told(around: Bench) -> list[Verdict]:
    """What was decided, without repetitions."""
    verdicts = [decision.verdict for decision in around.ears.heard]
    return [v for n, v in enumerate(verdicts) if n == 0 or verdicts[n - 1] is not v]


def last(around: Bench) -> PruneRecord:
    return around.history.latest["n1", "farm0"]


async def test_prunes_once_and_looks_again() -> None:
    builder = FakeBuilder(own=50)
    around = bench(builder)
    await run_for(around, 3600)
    assert builder.requests == [(20 * GIB, False, (), False)]
    assert (last(around).outcome, last(around).trigger) == (Outcome.OK, Trigger.CACHE)
    assert last(around).effective is True
    assert around.looks == 1
    assert told(around) == [Verdict.PRUNE, Verdict.FINE]


async def test_all_and_filters_are_passed_on() -> None:
    builder = FakeBuilder(own=50)
    filters = ("type!=exec.cachemount",)
    await run_for(bench(builder, settings(options={"all": True, "filters": filters})), 60)
    assert builder.requests == [(20 * GIB, True, filters, False)]


@pytest.mark.parametrize("steps", [[], [LOST]])
async def test_no_second_try_before_the_cooldown(steps: list[Any]) -> None:
    """Neither after a prune that freed nothing nor after one that failed."""
    builder = FakeBuilder(own=50, steps=steps)
    around = bench(builder, settings(options={"all": True}))
    await run_for(around, 1800)
    assert len(builder.requests) == 1
    await run_for(around, 60)
    assert len(builder.requests) == 2


async def test_dry_run() -> None:
    """Told once per cooldown, in the history too; nothing is asked of BuildKit."""
    builder = FakeBuilder(own=50)
    around = bench(builder, settings(options={"dry_run": True}))
    await run_for(around, 1700)
    assert builder.requests == []
    assert last(around).outcome is Outcome.DRY_RUN
    assert told(around) == [Verdict.PRUNE, Verdict.COOLDOWN]


async def test_waits_for_builds_then_prunes_all_the_same() -> None:
    builder = FakeBuilder(own=50, builds=2)
    around = bench(builder, settings(options={"wait_for_idle": 600.0}))
    await run_for(around, 595)
    assert (builder.requests, around.ears.deferrals) == ([], 1)
    assert told(around) == [Verdict.WAIT_BUILDS]
    again = bench(builder, settings(options={"wait_for_idle": 600.0}))
    await run_for(again, 650)
    assert len(builder.requests) == 1


async def test_prunes_as_soon_as_builds_end() -> None:
    builder = FakeBuilder(own=50, builds=1)
    around = bench(builder)
    asyncio.get_running_loop().call_later(100, setattr, builder, "builds", 0)
    await run_for(around, 600)
    assert 100 <= last(around).started_at - NOW <= 100 + 2 * TICK


async def test_critical_does_not_wait_for_builds() -> None:
    builder = FakeBuilder(own=50, builds=2)
    critical = PruneCritical(disk_free_below=share(0.7))
    around = bench(builder, settings(critical=critical))
    await run_for(around, 60)
    assert last(around).trigger is Trigger.DISK
    assert around.ears.deferrals == 0


@pytest.mark.parametrize("builds", [..., REFUSED])
async def test_builder_that_does_not_say_may_be_building(builds: Any) -> None:
    builder = FakeBuilder(own=50, builds=builds)
    around = bench(builder, settings(options={"wait_for_idle": 60.0}))
    await run_for(around, 200)
    assert told(around)[:2] == [Verdict.WAIT_BUILDS, Verdict.PRUNE]
    assert builder.controls == 0


@pytest.mark.parametrize(("in_use", "first"), [(True, Verdict.WAIT_BUILDS), (False, Verdict.PRUNE)])
async def test_before_engine_23_records_in_use_mean_a_build(in_use: bool, first: Verdict) -> None:
    around = bench(FakeBuilder(own=50, builds=None, in_use=in_use))
    await run_for(around, 60)
    assert told(around)[0] is first


async def test_builder_that_can_not_be_asked_is_asked_again() -> None:
    builder = FakeBuilder(own=50, builds=LOST)
    around = bench(builder)
    asyncio.get_running_loop().call_later(100, setattr, builder, "builds", 0)
    await run_for(around, 300)
    assert told(around)[:2] == [Verdict.STALE, Verdict.PRUNE]
    assert "can't be asked (BuildKit ended the connection)" in around.ears.heard[0].reason


async def test_builder_that_got_another_container_is_pruned_in_that_one() -> None:
    """Its last look may be minutes old: a request to the old container would fail."""
    builder, again = FakeBuilder(own=50), replace(FARM0, container="c9")
    around = bench(builder, node=FakeNode({"farm0": builder}, there=(again,)))
    await run_for(around, 60)
    assert len(builder.requests) == 1
    assert set(around.node.asked) == {again}


@pytest.mark.parametrize("there", [(FARM1,), (replace(FARM0, selected=False),), LOST, ...])
async def test_builder_that_is_not_there_any_more_is_not_pruned(there: Any) -> None:
    builder = FakeBuilder(own=50)
    around = bench(builder, node=FakeNode({"farm0": builder}, there=there))
    await run_for(around, 60)
    assert (builder.requests, told(around)) == ([], [Verdict.STALE])
    assert around.history.latest == {}


async def test_one_broken_builder_does_not_keep_the_other() -> None:
    """The one with the largest excess comes first; when it fails, the next has its turn."""
    broken, well = FakeBuilder(own=90, builds=LOST), FakeBuilder(own=50)
    node = FakeNode({"farm0": broken, "farm1": well})
    around = bench(broken, look=fresh(FARM0, FARM1, farm0=90, farm1=50), node=node)
    await run_for(around, 60)
    assert (broken.requests, len(well.requests)) == ([], 1)


async def test_largest_excess_first_and_one_at_a_time() -> None:
    small, large = FakeBuilder(own=50, steps=[1]), FakeBuilder(own=90, steps=[1, 100.0])
    node = FakeNode({"farm0": small, "farm1": large})
    around = bench(small, look=fresh(FARM0, FARM1, farm0=50, farm1=90), node=node)
    await run_for(around, 600)
    first, second = around.history.latest["n1", "farm1"], around.history.latest["n1", "farm0"]
    assert first.finished_at is not None
    assert first.finished_at <= second.started_at


async def test_unselected_builders_are_never_touched() -> None:
    builder = FakeBuilder(own=90)
    around = bench(builder, look=fresh(replace(FARM0, selected=False), farm0=90))
    await run_for(around, 60)
    assert (builder.requests, around.ears.heard) == ([], [])


async def test_builders_of_the_history_that_are_gone_are_forgotten() -> None:
    """What is shown of the last prune of one that is there no more must go."""
    store = MemoryStore()
    store.rows["old"] = replace(record(NOW - 9000, id="old"), builder="gone")
    around = bench(FakeBuilder(own=5), history=History(store))
    await around.history.load()
    await run_for(around, 60)
    assert around.ears.gone == [("n1", "gone")]


async def test_stale_data_is_not_acted_on() -> None:
    builder = FakeBuilder(own=90)
    around = bench(builder, look=fresh(farm0=90, at=lambda: NOW - 1000))
    await run_for(around, 60)
    assert (builder.requests, told(around)) == ([], [Verdict.STALE])


async def test_prune_of_another_process_counts() -> None:
    """A prune by hand that was not heard of yet: the store knows."""
    builder, store = FakeBuilder(own=50), MemoryStore()
    store.rows["hand"] = record(NOW - 1, id="hand", trigger=Trigger.MANUAL)
    around = bench(builder, history=History(store))
    await run_for(around, 60)
    assert (builder.requests, told(around)) == ([], [Verdict.COOLDOWN])


async def test_clock_put_back_does_not_make_it_wait_longer() -> None:
    builder = FakeBuilder(own=50, builds=1)
    shift = 0.0
    around = bench(builder, settings(options={"wait_for_idle": 60.0}))
    pruner = around.pruner()
    pruner._now = lambda: clock() + shift
    around.look = fresh(farm0=50, at=pruner._now)
    pruner._snapshot = around.look
    await pruner.tick()
    shift = -86400.0
    await pruner.tick()
    await asyncio.sleep(61)
    await pruner.tick()
    assert len(builder.requests) == 1


async def test_bug_does_not_end_the_pruner() -> None:
    builder = FakeBuilder(own=50, builds=ZeroDivisionError())
    around = bench(builder)
    asyncio.get_running_loop().call_later(TICK - 1, setattr, builder, "builds", 0)
    await run_for(around, 300)
    assert len(builder.requests) == 1


async def test_told_to_stop_in_a_prune_it_ends_with_the_prune() -> None:
    around = bench(FakeBuilder(own=50, steps=[31, 30.0]))
    pruner = around.pruner()
    task = asyncio.create_task(pruner.run())
    await asyncio.sleep(15)
    assert pruner.busy
    pruner._stop.set()
    await task
    finished = last(around).finished_at
    assert last(around).outcome is Outcome.OK
    assert finished is not None
    assert clock() - finished < 1


class Platform:
    """Nodes of one platform with a history in common, each with a pruner."""

    def __init__(self, *builders: FakeBuilder, limit: int = 1) -> None:
        self.history = History(MemoryStore())
        names = [f"n{number}" for number in range(1, len(builders) + 1)]
        farm = Farm(lambda: {name: {"linux/amd64"} for name in names}, limit)
        self.benches = [
            Bench(
                FakeNode({"farm0": builder}, name=name),
                settings(),
                self._look(name, builder),
                history=self.history,
                farm=farm,
            )
            for name, builder in zip(names, builders, strict=True)
        ]

    def _look(self, name: str, builder: FakeBuilder) -> Callable[[], Snapshot]:
        def look() -> Snapshot:
            return snapshot(cache(size=builder.own, at=clock()), disk_at=clock(), name=name)

        return look

    async def run_for(self, seconds: float) -> list[PruneRecord]:
        await asyncio.gather(*(run_for(around, seconds) for around in self.benches))
        return sorted(self.history.latest.values(), key=lambda r: r.started_at)


@pytest.mark.parametrize("limit", [1, 2])
async def test_nodes_of_a_platform_take_turns(limit: int) -> None:
    farm = Platform(*(FakeBuilder(own=50, steps=[31, 60.0]) for _ in range(4)), limit=limit)
    records = await farm.run_for(1000)
    assert [r.outcome for r in records] == [Outcome.OK] * 4
    for started in (r.started_at for r in records):
        together = [r for r in records if r.started_at <= started < (r.finished_at or 0)]
        assert len(together) <= limit


async def test_silent_node_delays_no_other() -> None:
    """Its builder hangs when asked; the other node's pruner does not notice."""
    silent, well = FakeBuilder(own=50, builds=...), FakeBuilder(own=50)
    farm = Platform(silent, well)
    records = await farm.run_for(9)
    assert [(r.node, r.outcome) for r in records] == [("n2", Outcome.OK)]


async def test_node_that_hangs_in_a_prune_blocks_its_platform_for_a_while_only() -> None:
    hung = FakeBuilder(own=50, steps=[1, 1e9], alive=False)
    well = FakeBuilder(own=50, builds=1)
    asyncio.get_running_loop().call_later(30, setattr, well, "builds", 0)
    first, second = await Platform(hung, well).run_for(1200)
    assert (first.node, first.outcome, first.stalled) == ("n1", Outcome.FAILED, True)
    assert (second.node, second.outcome) == ("n2", Outcome.OK)


async def test_waiting_for_builds_goes_on_while_waiting_for_another_node() -> None:
    busy = FakeBuilder(own=50, builds=1)
    other = FakeBuilder(own=30, steps=[31, 400.0])
    farm = Platform(busy, other)
    asyncio.get_running_loop().call_later(300, setattr, other, "own", 50.0)
    await farm.run_for(750)
    assert len(busy.requests) == 1
    assert farm.benches[0].ears.deferrals == 1
