"""A node's canaries: asked anew before each, never too many at once, and each told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.actions.canary import CanaryResult
from exporter.actions.canary_runner import MultiarchCanary, NodeCanaries, Places
from exporter.canaries import CanaryOutcome, CanaryTrigger, MultiarchRecord, Step
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import Builder, CanarySettings, PruneCritical, Snapshot
from tests.actions.canary_farm import STEPS, Builds, CanaryBench
from tests.actions.facts import DOWN, FARM0, FARM1, UP, gib, settings, snapshot
from tests.actions.fakes import LOST, FakeBuilder, FakeNode, clock

pytestmark = pytest.mark.virtual_time

BOTH = ("linux/amd64", "linux/arm64")
OUTAGE = NodeError(Layer.TRANSPORT, Reason.REFUSED, "connection refused")


def look(**more: Any) -> Any:
    return lambda: snapshot(**more)


@asynccontextmanager
async def running(*nodes: NodeCanaries | MultiarchCanary) -> AsyncIterator[None]:
    """Let them wait for what is due."""
    tasks = [asyncio.create_task(node.run()) for node in nodes]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def test_each_platform_on_each_builder_in_turn() -> None:
    """And what came of it, with its times, native and emulated told apart."""
    fakes = {"farm0": FakeBuilder(), "farm1": FakeBuilder()}
    bench = CanaryBench(node=FakeNode(fakes), look=look(builders=(FARM0, FARM1), platforms=BOTH))
    records = await bench.build()
    assert [(r.builder, r.platform, r.emulated) for r in records] == [
        ("farm0", "linux/amd64", False),
        ("farm0", "linux/arm64", True),
        ("farm1", "linux/amd64", False),
        ("farm1", "linux/arm64", True),
    ]
    assert {r.outcome for r in records} == {CanaryOutcome.OK}
    assert bench.builds.most_at_once == 1
    assert bench.records == records
    assert records[0].steps == STEPS
    assert records[0].trigger is CanaryTrigger.SCHEDULE
    assert records[0].duration == pytest.approx(10)
    assert records[1].started_at == pytest.approx(records[0].started_at + 10)
    assert bench.progress[:2] == [("linux/amd64", None), ("linux/amd64", Step.CPU)]
    assert all(fake.controls == 0 for fake in fakes.values())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"look": look(reach=DOWN)}, "the node is down: transport: timeout: no answer"),
        ({"there": OUTAGE}, "the node is down: transport: refused: connection refused"),
        (
            {"there": NodeError(Layer.TRANSPORT, Reason.REFUSED, "go\x1b[2J\naway")},
            "the node is down: transport: refused: go[2J away",
        ),
        ({"there": ...}, "the node does not list its builders in time"),
        ({"builds": OUTAGE}, "the node is down: transport: refused: connection refused"),
        ({"builds": 1}, "1 build running on the node"),
        ({"builds": None, "in_use": True}, "1 build running on the node"),
        ({"there": [replace(FARM0, running=False)]}, "builder farm0 does not run"),
        ({"free": 5.0}, "too little is free: 5.0 GiB (5 %) of the disk, 80 % of the inodes"),
        ({"pruning": True}, "a prune runs on the node"),
    ],
)
async def test_skipped_and_why(changes: dict[str, Any], why: str) -> None:
    """Directly before the build the node is asked anew."""
    fake = FakeBuilder(builds=changes.pop("builds", 0), in_use=changes.pop("in_use", False))
    around = {name: changes.pop(name) for name in ("look", "pruning") if name in changes}
    node = FakeNode({"farm0": fake, "farm1": FakeBuilder()}, **changes)
    bench = CanaryBench(node=node, **around)
    (record,) = await bench.build()
    assert (record.outcome, record.detail) == (CanaryOutcome.SKIPPED, why)
    assert bench.builds.spans == []
    assert bench.records == [record]


@pytest.mark.parametrize(
    "silent", [..., RemoteError(Layer.BUILDKIT, Reason.BUILDKIT, "history is off", 2), LOST]
)
async def test_a_builder_that_does_not_answer_shows_it_by_its_canary(silent: Any) -> None:
    bench = CanaryBench(node=FakeNode({"farm0": FakeBuilder(builds=silent)}))
    (record,) = await bench.build()
    assert record.outcome is CanaryOutcome.OK
    assert len(bench.builds.spans) == 1


async def test_builds_on_a_builder_that_is_not_selected_count_too() -> None:
    """They take the same CPU and disk."""
    other = replace(FARM1, selected=False)
    fakes = {"farm0": FakeBuilder(), "farm1": FakeBuilder(builds=3)}
    bench = CanaryBench(node=FakeNode(fakes, there=[FARM0, other]))
    (record,) = await bench.build()
    assert record.detail == "3 builds running on the node"


async def test_a_busy_node_that_is_built_on_is_told_with_the_times() -> None:
    bench = CanaryBench(
        node=FakeNode({"farm0": FakeBuilder(builds=1)}),
        settings=CanarySettings(every=60.0, skip_while_building=False),
    )
    bench.builds.result = CanaryResult(CanaryOutcome.OK, STEPS, "something is left")
    (record,) = await bench.build()
    assert record.outcome is CanaryOutcome.OK
    assert record.detail == "something is left; 1 build running on the node"


async def test_a_disk_that_can_not_be_looked_at_keeps_nothing_back() -> None:
    bench = CanaryBench(node=FakeNode({"farm0": FakeBuilder()}, disk=...))
    (record,) = await bench.build()
    assert record.outcome is CanaryOutcome.OK


async def test_how_low_a_disk_may_get_is_as_for_a_prune() -> None:
    prune = settings(critical=PruneCritical(disk_free_below=gib(70)))
    node = FakeNode({"farm0": FakeBuilder()})
    node.spec = replace(node.spec, prune=prune)
    (record,) = await CanaryBench(node=node).build()
    assert record.detail == "too little is free: 60.0 GiB (60 %) of the disk, 80 % of the inodes"


async def test_the_builder_is_taken_as_it_is_now() -> None:
    """It got another container since it was looked at."""
    made_anew = Builder(FARM0.name, FARM0.driver, container="c9")
    bench = CanaryBench(node=FakeNode({"farm0": FakeBuilder()}, there=[made_anew]))
    await bench.build()
    assert bench.node.asked == [made_anew]


async def test_a_builder_that_goes_meanwhile() -> None:
    fakes = {"farm0": FakeBuilder(), "farm1": FakeBuilder()}
    bench = CanaryBench(node=FakeNode(fakes), look=look(builders=(FARM0,), platforms=BOTH))
    bench.node.there = [FARM0]
    asyncio.get_running_loop().call_later(5, setattr, bench.node, "there", [FARM1])
    first, second = await bench.build()
    assert first.outcome is CanaryOutcome.OK
    assert (second.outcome, second.detail) == (CanaryOutcome.SKIPPED, "builder farm0 is gone")


async def test_a_missing_platform_is_no_skip() -> None:
    bench = CanaryBench(look=look(platforms=("linux/riscv64",)))
    (record,) = await bench.build()
    assert (record.outcome, record.emulated) == (CanaryOutcome.MISSING, False)
    assert bench.builds.spans == []


async def test_nothing_is_known_of_the_node() -> None:
    """There is nothing to record then; it is told."""
    unseen = replace(snapshot(reach=DOWN), workers=None)
    with capture_logs() as logs:
        assert await CanaryBench(look=lambda: unseen).build() == []
    assert logs[0]["why"] == "the node is down: transport: timeout: no answer"


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 2), (3, 3), (9, 4)])
async def test_so_many_at_a_time_over_the_farm(places: int, most: int) -> None:
    """And never two on one node."""
    shared, builds = Places(places), Builds()
    benches = [
        CanaryBench(
            builds=builds,
            node=FakeNode({"farm0": FakeBuilder()}, name=f"n{number}"),
            look=look(name=f"n{number}", platforms=BOTH),
            places=shared,
        )
        for number in range(4)
    ]
    nodes = [bench.canaries() for bench in benches]
    async with running(*nodes):
        for node in nodes:
            node.due()
        await asyncio.sleep(200)
    assert len(builds.spans) == 8
    assert builds.most_at_once == most


async def test_what_comes_due_in_a_run_is_part_of_it() -> None:
    bench = CanaryBench()
    node = bench.canaries()
    async with running(node):
        node.due()
        await asyncio.sleep(5)
        node.due()
        await asyncio.sleep(100)
        assert len(bench.builds.spans) == 1
        node.due()
        await asyncio.sleep(100)
    assert len(bench.builds.spans) == 2


async def test_a_first_run_waits_for_the_first_look() -> None:
    """At the start nothing is known of the node; what was missed is due at once."""
    known: list[Snapshot] = [replace(snapshot(reach=None), workers=None)]
    bench = CanaryBench(look=lambda: known[0])
    node = bench.canaries()
    async with running(node):
        node.due()
        await asyncio.sleep(20)
        assert bench.records == []
        known[0] = replace(snapshot(reach=UP), workers=None)
        await asyncio.sleep(20)
        assert bench.records == []
        known[0] = snapshot()
        await asyncio.sleep(20)
    assert [r.outcome for r in bench.records] == [CanaryOutcome.OK]


async def test_what_is_to_be_built_is_told_when_it_changes() -> None:
    known = [replace(snapshot(), workers=None), snapshot()]
    bench = CanaryBench(look=lambda: known[0])
    async with running(bench.canaries()):
        await asyncio.sleep(20)
        assert bench.planned == []
        del known[0]
        await asyncio.sleep(20)
        known[0] = snapshot(platforms=("linux/arm64",))
        await asyncio.sleep(20)
    told = [[(t.builder, t.platform, t.emulated) for t in plan] for plan in bench.planned]
    assert told == [[("farm0", "linux/amd64", False)], [("farm0", "linux/arm64", True)]]


async def test_a_bug_does_not_end_the_canaries() -> None:
    bench = CanaryBench(builds=Builds(result=ZeroDivisionError()))
    node = bench.canaries()
    async with running(node):
        node.due()
        with capture_logs() as logs:
            await asyncio.sleep(20)
        assert [entry["log_level"] for entry in logs] == ["error"]
        bench.builds.result = CanaryResult(CanaryOutcome.OK, STEPS)
        node.due()
        await asyncio.sleep(20)
    assert len(bench.records) == 1


async def test_a_bug_in_the_plan_does_not_end_the_canaries() -> None:
    bugs: list[Exception] = [ZeroDivisionError()]

    def known() -> Snapshot:
        if bugs:
            raise bugs.pop()
        return snapshot()

    bench = CanaryBench(look=known)
    node = bench.canaries()
    with capture_logs() as logs:
        async with running(node):
            node.due()
            await asyncio.sleep(20)
    assert [entry["log_level"] for entry in logs] == ["error", "info"]
    assert (len(bench.records), len(bench.planned)) == (1, 1)


async def test_stopped_in_a_build_it_records_nothing() -> None:
    """Then it is made up after the next start."""
    bench = CanaryBench()
    node = bench.canaries()
    async with running(node):
        node.due()
        await asyncio.sleep(5)
    assert bench.builds.cancelled == 1
    assert bench.records == []


@pytest.mark.parametrize(
    ("result", "level", "event"),
    [
        (CanaryResult(CanaryOutcome.OK, STEPS), "info", "canary built"),
        (CanaryResult(CanaryOutcome.FAILED, {}, "no space"), "warning", "canary failed"),
        (CanaryResult(CanaryOutcome.TIMEOUT, {}, "late"), "warning", "canary failed"),
    ],
)
async def test_each_is_told_in_a_line(result: CanaryResult, level: str, event: str) -> None:
    bench = CanaryBench(builds=Builds(result=result))
    with capture_logs() as logs:
        await bench.build()
    (line,) = logs
    assert (line["log_level"], line["event"], line["builder"]) == (level, event, "farm0")
    assert {step: line[step] for step in result.steps} == {
        step: time.seconds for step, time in result.steps.items()
    }


WHOLE = MultiarchRecord(
    "1", "farm", CanaryTrigger.SCHEDULE, CanaryOutcome.OK, 1.0, 2.0, pushed=("linux/amd64",)
)


async def test_the_one_over_the_whole_farm_has_it_for_itself() -> None:
    """It waits for those that are being built, and those that are due wait for it."""
    places, builds = Places(2), Builds()
    nodes = [
        CanaryBench(
            builds=builds,
            node=FakeNode({"farm0": FakeBuilder()}, name=name),
            look=look(name=name, platforms=BOTH),
            places=places,
        ).canaries()
        for name in ("n1", "n2", "n3")
    ]
    spans: list[tuple[float, float]] = []
    told: list[MultiarchRecord] = []

    async def build() -> MultiarchRecord:
        started = clock()
        await asyncio.sleep(30)
        spans.append((started, clock()))
        return WHOLE

    async def record(done: MultiarchRecord) -> None:
        told.append(done)

    whole = MultiarchCanary(build, places, record)
    async with running(*nodes, whole):
        for node in nodes:
            node.due()
        await asyncio.sleep(5)
        whole.due()
        await asyncio.sleep(300)
    ((began, ended),) = spans
    assert len(builds.spans) == 6
    assert {start for *_, start, _ in builds.spans if start >= ended}
    assert not [span for span in builds.spans if span[3] < ended and span[4] > began]
    assert told == [WHOLE]


async def test_a_bug_in_the_one_over_the_whole_farm_gives_its_places_back() -> None:
    places, builds = Places(2), Builds()
    nodes = [
        CanaryBench(
            builds=builds,
            node=FakeNode({"farm0": FakeBuilder()}, name=name),
            look=look(name=name),
            places=places,
        ).canaries()
        for name in ("n1", "n2")
    ]

    async def build() -> MultiarchRecord:
        raise ZeroDivisionError

    async def record(done: MultiarchRecord) -> None:
        raise AssertionError(done)

    whole = MultiarchCanary(build, places, record)
    async with running(whole, *nodes):
        whole.due()
        with capture_logs() as logs:
            await asyncio.sleep(1)
        for node in nodes:
            node.due()
        await asyncio.sleep(20)
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert builds.most_at_once == 2
