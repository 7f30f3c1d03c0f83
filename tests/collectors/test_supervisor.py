"""The loops that watch one node."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from exporter.buildkit.builders import EMBEDDED
from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look
from exporter.collectors.build_ledger import Ledger
from exporter.collectors.runner import Clock
from exporter.collectors.supervisor import Supervisor
from exporter.errors import Layer, Reason
from exporter.model import Failure, Orphans, Reachability, Worker, Workers
from exporter.snapshots import Snapshots
from tests.collectors.fakes import FARM0, HANG, NOW, SPEC, FakeNode, act, broken, no_fetch
from tests.collectors.histories import FakeBuildKit

pytestmark = pytest.mark.virtual_time

UP = Reachability({}, None, 0.001)
DOWN = Reachability({}, Failure(Layer.TRANSPORT, Reason.REFUSED, "refused"), None)
DOWN_STILL = Reachability({}, Failure(Layer.TRANSPORT, Reason.REFUSED, "again"), None)


class Watched:
    """A supervised fake node; ``looks`` are the loop's times at which each collector began."""

    def __init__(self, scripts: dict[str, Any], intervals: dict[str, float], seed: int) -> None:
        self.scripts = scripts
        self.looks: dict[str, list[float]] = defaultdict(list)
        self.at_once: dict[str, int] = defaultdict(int)
        self.node = FakeNode()
        self.snapshots = Snapshots([SPEC])
        collectors = [self._collector(name, intervals.get(name, 60.0)) for name in scripts]
        clock = Clock(lambda: NOW, lambda: 0.0)
        self.supervisor = Supervisor(
            self.node.client, collectors, self.snapshots, no_fetch, clock, Random(seed), Ledger()
        )

    def _collector(self, name: str, interval: float) -> Collector:
        async def collect(client: NodeClient, look: Look) -> Any:
            del client, look
            self.looks[name].append(asyncio.get_running_loop().time())
            self.at_once[name] += 1
            assert self.at_once[name] == 1, f"{name} overlaps with itself"
            try:
                return await act(self.scripts[name])
            finally:
                self.at_once[name] -= 1

        return Collector(name, lambda _: interval, collect)


@asynccontextmanager
async def watching(
    intervals: dict[str, float] | None = None, seed: int = 0, **scripts: Any
) -> AsyncIterator[Watched]:
    watched = Watched(scripts, intervals or {}, seed)
    task = asyncio.create_task(watched.supervisor.run())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert watched.node.closed


@pytest.fixture
def log() -> Iterator[LogCapture]:
    """What is logged, with what is bound to it."""
    capture = LogCapture()
    before = structlog.get_config()["processors"]
    processors = before.copy()
    before[:] = [structlog.contextvars.merge_contextvars, capture]
    yield capture
    before[:] = processors


def said(log: LogCapture) -> list[str]:
    return [entry["event"] for entry in log.entries]


async def test_every_collector_looks_soon_and_then_at_its_interval() -> None:
    async with watching({"reachability": 15.0}, reachability=UP) as watched:
        await asyncio.sleep(100.0)
    first, second, *others = watched.looks["reachability"]
    assert first <= 2.0
    assert 7.5 <= second - first <= 15.0
    gaps = [b - a for a, b in pairwise([second, *others])]
    assert gaps == pytest.approx([15.0] * len(gaps))
    assert len(gaps) >= 4


async def test_nodes_do_not_look_in_step() -> None:
    firsts, seconds = set(), set()
    for seed in range(5):
        async with watching(seed=seed, orphans=Orphans((), 0)) as watched:
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(100.0)
        firsts.add(round(watched.looks["orphans"][0] - began, 3))
        seconds.add(round(watched.looks["orphans"][1] - began, 3))
    assert len(firsts) == len(seconds) == 5
    assert max(seconds) - min(seconds) > 10.0


async def test_a_slow_look_skips_the_ticks_it_ran_over() -> None:
    async def slow() -> Orphans:
        await asyncio.sleep(7.0)
        return Orphans((), 0)

    async with watching({"orphans": 3.0}, orphans=slow) as watched:
        await asyncio.sleep(100.0)
    looks = watched.looks["orphans"][1:]
    gaps = [b - a for a, b in pairwise(looks)]
    assert gaps == pytest.approx([9.0] * len(gaps))


async def test_a_collector_that_hangs_delays_no_other() -> None:
    intervals = {"orphans": 15.0, "reachability": 15.0}
    async with watching(intervals, orphans=HANG, reachability=UP) as watched:
        await asyncio.sleep(200.0)
    assert len(watched.looks["reachability"]) >= 13
    assert len(watched.looks["orphans"]) >= 13
    state = watched.snapshots.get("n1").collectors["orphans"]
    assert state.timeouts >= 12


async def test_all_collectors_look_at_once_when_the_node_is_back() -> None:
    intervals = {"reachability": 15.0, "orphans": 3600.0}
    async with watching(intervals, reachability=DOWN, orphans=Orphans((), 0)) as watched:
        await asyncio.sleep(40.0)
        assert len(watched.looks["orphans"]) == 1
        watched.scripts["reachability"] = UP
        await asyncio.sleep(16.0)
        assert watched.looks["orphans"][1:] == [watched.looks["reachability"][-1]]


async def test_builds_are_asked_for_at_once_when_the_node_is_back() -> None:
    node = FakeNode(spec=replace(SPEC, collect=replace(SPEC.collect, builds=True)))
    node.controls["docker"] = kit = FakeBuildKit()
    kit.refusal = broken(Layer.TRANSPORT, Reason.REFUSED)
    snapshots, loop = Snapshots([node.spec]), asyncio.get_running_loop()
    state = DOWN
    looks: list[float] = []

    async def collect(client: NodeClient, look: Look) -> Reachability:
        del client, look
        looks.append(loop.time())
        return state

    reachability = Collector("reachability", lambda _: 7.0, collect)
    clock = Clock(lambda: NOW, loop.time)
    supervisor = Supervisor(
        node.client, [reachability], snapshots, no_fetch, clock, Random(0), Ledger()
    )
    task = asyncio.create_task(supervisor.run())
    await asyncio.sleep(200.0)
    assert not snapshots.get("n1").collectors["builds"].success
    state, kit.refusal = UP, None
    await asyncio.sleep(8.0)
    assert kit.lists[-1] in looks
    assert snapshots.get("n1").collectors["builds"].success
    task.cancel()
    await asyncio.wait([task])


async def test_a_look_from_before_the_return_is_made_again_and_wakes_nobody() -> None:
    """It hung while the node was away, and gives up when it is back already."""
    intervals = {"reachability": 5.0, "orphans": 3600.0, "workers": 3600.0}
    async with watching(
        intervals, reachability=DOWN, orphans=Orphans((), 0), workers=Workers(None, ())
    ) as watched:
        await asyncio.sleep(3.0)
        watched.scripts["orphans"] = HANG
        watched.supervisor.look_again()
        await asyncio.sleep(0.5)
        watched.scripts |= {"reachability": UP, "orphans": Orphans((), 0)}
        await asyncio.sleep(60.0)
    _, hung, again = watched.looks["orphans"]
    assert (hung, again) == (3.0, 13.0)
    assert len(watched.looks["workers"]) == 3
    looks = watched.looks["reachability"]
    assert len(set(looks)) == len(looks)


async def test_a_wake_does_not_move_the_next_look() -> None:
    async with watching({"orphans": 50.0}, orphans=Orphans((), 0)) as watched:
        await asyncio.sleep(60.0)
        watched.supervisor.look_again()
        await asyncio.sleep(120.0)
    _, second, woken, third, *_ = watched.looks["orphans"]
    assert woken == 60.0
    assert third - second == pytest.approx(50.0)


async def test_only_what_applies_to_the_node_is_collected() -> None:
    never = Collector("certificates", lambda _: 1.0, lambda *_: act(None), lambda _: False)
    node = FakeNode()
    supervisor = Supervisor(
        node.client,
        [never],
        Snapshots([SPEC]),
        no_fetch,
        Clock(lambda: NOW, lambda: 0.0),
        Random(0),
        Ledger(),
    )
    await supervisor.run()
    assert node.closed


async def test_the_log_tells_of_changes_only(log: LogCapture) -> None:
    async with watching(reachability=UP) as watched:
        for script in (UP, DOWN, DOWN, DOWN_STILL, UP, UP):
            watched.scripts["reachability"] = script
            await asyncio.sleep(60.0)
    assert said(log) == ["node is up", "node is down", "node is up"]
    assert {entry["node"] for entry in log.entries} == {"n1"}
    down = log.entries[1]
    assert (down["log_level"], down["reason"], down["detail"]) == ("warning", "refused", "refused")


async def test_a_failing_collection_is_logged_once(log: LogCapture) -> None:
    async with watching(orphans=broken(Layer.ENGINE, Reason.ENGINE)) as watched:
        await asyncio.sleep(200.0)
        watched.scripts["orphans"] = Orphans((), 0)
        await asyncio.sleep(200.0)
    assert said(log) == ["collection failed", "collection works again"]
    assert log.entries[0]["collector"] == "orphans"


async def test_builders_that_come_and_go_are_logged(log: LogCapture) -> None:
    docker = Worker(EMBEDDED, "v0.25.1", (), None)
    farm0 = Worker(FARM0, "v0.32.2", (), None)
    async with watching(workers=Workers(None, (docker,))) as watched:
        await asyncio.sleep(65.0)
        for workers in ((docker, farm0), (docker,)):
            watched.scripts["workers"] = Workers(None, workers)
            await asyncio.sleep(60.0)
    told = [(entry["event"], entry["builder"]) for entry in log.entries]
    assert told == [
        ("builder found", "docker"),
        ("builder found", "farm0"),
        ("builder is gone", "farm0"),
    ]
