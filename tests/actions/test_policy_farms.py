"""Farms that are decided on over and over: who is pruned when."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from exporter.actions.policy import decide, full_platforms, hold
from exporter.model import PruneSettings, PruneTriggers, Threshold
from exporter.prunes import BuilderKey, Decision, Outcome, PruneRecord, Verdict
from tests.actions.facts import FARM0, GIB, NOW, cache, record, snapshot

ARCHITECTURES = {
    "n1": ("linux/amd64",),
    "n2": ("linux/amd64", "linux/arm64"),
    "n3": ("linux/arm64",),
    "n4": ("linux/amd64",),
}
WANTED = PruneSettings(
    keep_storage=Threshold(bytes=20 * GIB),
    when=PruneTriggers(cache_above=Threshold(bytes=40 * GIB)),
    wait_for_idle=600.0,
    cooldown=1800.0,
)


@dataclass
class Farm:
    """Nodes with a builder each, whose caches grow, and the prunes that are decided on."""

    now: float = NOW
    sizes: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ARCHITECTURES, 30.0))
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    builds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ARCHITECTURES, 0))
    waiting: dict[str, float] = field(default_factory=dict)
    latest: dict[BuilderKey, PruneRecord] = field(default_factory=dict)
    begun: list[tuple[float, str, float]] = field(default_factory=list)

    def look(self, node: str) -> None:
        self.seen[node] = (self.now, self.sizes[node])

    def decide(self, node: str) -> Decision:
        """What the daemon does in a tick, to the prune's start."""
        at, size = self.seen.get(node, (0.0, 0.0))
        known = snapshot(cache(size=size, at=at), disk_at=self.now, name=node)
        found = decide(known, FARM0, WANTED, self.latest, self.now)
        if found.verdict is Verdict.PRUNE:
            full = full_platforms(node, ARCHITECTURES, self.latest, 1, self.now)
            found = hold(
                found,
                WANTED,
                running_builds=self.builds[node],
                waiting_since=self.waiting.get(node),
                full_platforms=full,
                now=self.now,
            )
        if found.verdict is Verdict.WAIT_BUILDS:
            self.waiting.setdefault(node, self.now)
        elif found.verdict not in (Verdict.WAIT_TURN, Verdict.PRUNE):
            self.waiting.pop(node, None)
        if found.verdict is Verdict.PRUNE:
            self.begun.append((self.now, node, size))
            self.latest[found.key] = record(
                None, node=node, started=self.now, seen=self.now, id=f"{node}-{len(self.begun)}"
            )
        return found

    def running(self) -> list[str]:
        return [r.node for r in self.latest.values() if r.outcome is Outcome.RUNNING]

    def end(self, node: str, outcome: Outcome) -> None:
        key = (node, "farm0")
        if node in self.running():
            if outcome is Outcome.OK:
                self.sizes[node] = min(self.sizes[node], 19.0)
            self.latest[key] = replace(
                self.latest[key], outcome=outcome, finished_at=self.now, seen_at=self.now
            )

    def wait(self, seconds: float) -> None:
        self.now += seconds
        for key, one in self.latest.items():
            if one.outcome is Outcome.RUNNING:
                self.latest[key] = replace(one, seen_at=self.now)


names = st.sampled_from(sorted(ARCHITECTURES))
events = st.one_of(
    st.tuples(st.just("grow"), names, st.floats(0, 40)),
    st.tuples(st.just("builds"), names, st.integers(0, 3)),
    st.tuples(st.just("look"), names),
    st.tuples(st.just("decide"), names),
    st.tuples(st.just("decide"), names),
    st.tuples(st.just("end"), names, st.sampled_from([Outcome.OK, Outcome.FAILED])),
    st.tuples(st.just("wait"), st.floats(1, 1000)),
)


@given(st.lists(events, min_size=10, max_size=80))
def test_never_two_nodes_of_a_platform_at_once(story: list[tuple[Any, ...]]) -> None:
    farm = Farm()
    ended: dict[str, float] = {}
    for what, *rest in story:
        match what:
            case "grow":
                farm.sizes[rest[0]] = min(farm.sizes[rest[0]] + rest[1], 90.0)
            case "builds":
                farm.builds[rest[0]] = rest[1]
            case "look":
                farm.look(rest[0])
            case "decide":
                found = farm.decide(rest[0])
                if found.verdict is Verdict.PRUNE:
                    assert farm.now - ended.get(rest[0], 0.0) >= WANTED.cooldown
                    assert farm.begun[-1][2] > 40.0
            case "end":
                if rest[0] in farm.running():
                    ended[rest[0]] = farm.now
                farm.end(rest[0], rest[1])
            case "wait":
                farm.wait(rest[0])
        busy = [platform for node in farm.running() for platform in ARCHITECTURES[node]]
        assert len(busy) == len(set(busy))


@given(st.lists(st.floats(0, 4), min_size=50, max_size=50))
def test_hysteresis(growth: list[float]) -> None:
    """Half a day of a cache that grows: pruned when above 40 GiB, then not until it is again."""
    farm = Farm()
    with freeze_time("2027-01-31") as clock:
        for gibs in growth:
            clock.tick(900)
            farm.now = clock().timestamp()
            farm.sizes["n1"] += gibs
            farm.look("n1")
            farm.decide("n1")
            farm.wait(30)
            farm.end("n1", Outcome.OK)
    assert all(size > 40.0 for _, _, size in farm.begun)
    starts = [at for at, _, _ in farm.begun]
    gaps = [after - before for before, after in pairwise(starts)]
    # From below what to keep to above the threshold it has to grow by more than 20 GiB.
    assert all(gap >= max(WANTED.cooldown, 900 * 20 / 4) for gap in gaps)


def test_every_node_gets_its_turn() -> None:
    """Three nodes of one platform, due at once, are pruned one after another."""
    farm = Farm()
    order: list[str] = []
    for node in ("n1", "n2", "n4"):
        farm.sizes[node] = 50.0
    while len(order) < 3 and farm.now < NOW + 3600:
        for node in ("n1", "n2", "n4"):
            farm.look(node)
            farm.decide(node)
        order += farm.running()
        assert len(farm.running()) <= 1
        farm.wait(60)
        for node in list(farm.running()):
            farm.end(node, Outcome.OK)
        farm.wait(5)
    assert sorted(order) == ["n1", "n2", "n4"]


def test_cooldown_is_of_the_node() -> None:
    """A builder of the same name on another node has a cooldown of its own."""
    other = record(NOW - 60, node="n2")
    assert decide(snapshot(), FARM0, WANTED, {other.key: other}, NOW).verdict is Verdict.PRUNE
