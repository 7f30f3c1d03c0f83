"""What puts a due prune off: old data, the last prune, builds, other prunes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from exporter.actions.policy import decide, full_platforms, hold
from exporter.errors import Layer, Reason
from exporter.model import Failure, Reachability, Snapshot
from exporter.prunes import LEASE, Decision, Outcome, PruneRecord, Trigger, Verdict
from tests.actions.facts import (
    DOWN,
    FARM0,
    FARM1,
    NOW,
    cache,
    latest,
    record,
    settings,
    snapshot,
)

DUE = Decision("n1", "farm0", Verdict.PRUNE, "it is large", Trigger.CACHE, keep=1)
ONE_LAYER_FAILS = Reachability(
    {Layer.TRANSPORT: True, Layer.ENGINE: True, Layer.BUILDKIT: False},
    Failure(Layer.BUILDKIT, Reason.BUILDKIT, "farm1 does not run"),
    0.001,
)


def decided(*records: PruneRecord, at: float = NOW, **known: Any) -> Decision:
    return decide(snapshot(**known), FARM0, settings(), latest(*records), at)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (snapshot(reach=None), "not looked at yet"),
        (snapshot(reach=DOWN), "the node does not answer (timeout)"),
        (replace(snapshot(), cache=None), "its cache is not known yet"),
        (snapshot(cache("other")), "its cache is not known yet"),
        (replace(snapshot(), disk=None), "its disk is not known yet"),
        # Twice the interval (120 s, 30 s) and the deadline of a look (10 s).
        (snapshot(cache(at=NOW - 251)), "what is known of its cache is 4 min old"),
        (snapshot(disk_at=NOW - 71), "what is known of its disk is 1 min old"),
    ],
)
def test_stale(known: Snapshot, reason: str) -> None:
    found = decide(known, FARM0, settings(), {}, NOW)
    assert (found.verdict, found.reason, found.trigger) == (Verdict.STALE, reason, None)


@pytest.mark.parametrize(
    "known",
    [snapshot(cache(at=NOW - 250)), snapshot(disk_at=NOW - 70), snapshot(reach=ONE_LAYER_FAILS)],
)
def test_not_stale(known: Snapshot) -> None:
    assert decide(known, FARM0, settings(), {}, NOW).verdict is Verdict.PRUNE


def test_builder_that_does_not_run_is_not_decided_on() -> None:
    found = decide(snapshot(), replace(FARM0, running=False), settings(), {}, NOW)
    assert (found.verdict, found.reason) == (Verdict.STALE, "the builder does not run")


@pytest.mark.parametrize("builder", ["farm0", "farm1"])
def test_what_was_seen_before_the_last_prune_on_the_node_says_nothing(builder: str) -> None:
    pruned = record(NOW - 5, builder=builder)
    found = decided(pruned, builders=(FARM0, FARM1))
    assert (found.verdict, found.reason) == (
        Verdict.STALE,
        "its cache was not looked at since the last prune",
    )


@pytest.mark.parametrize(
    "outcome", [Outcome.OK, Outcome.FAILED, Outcome.INTERRUPTED, Outcome.DRY_RUN]
)
def test_cooldown_follows_every_outcome(outcome: Outcome) -> None:
    pruned = record(NOW - 600, outcome=outcome)
    found = decided(pruned)
    assert (found.verdict, found.trigger) == (Verdict.COOLDOWN, Trigger.CACHE)
    assert found.reason.endswith("the last prune was 10 min ago, the next is possible in 20 min")


def test_cooldown_ends(freezer: FrozenDateTimeFactory) -> None:
    pruned = record(freezer().timestamp())
    verdicts = []
    for seconds in (900, 899, 1):
        freezer.tick(seconds)
        now = freezer().timestamp()
        known = snapshot(cache(at=now), disk_at=now)
        verdicts.append(decide(known, FARM0, settings(), latest(pruned), now).verdict)
    assert verdicts == [Verdict.COOLDOWN, Verdict.COOLDOWN, Verdict.PRUNE]


@pytest.fixture
def freezer() -> Any:
    with freeze_time("2027-01-31") as frozen:
        yield frozen


def test_cooldown_is_each_builders_own() -> None:
    pruned = record(NOW - 600, builder="farm1")
    assert decided(pruned, builders=(FARM0, FARM1)).verdict is Verdict.PRUNE


@pytest.mark.parametrize("builder", ["farm0", "farm1"])
def test_one_prune_at_a_time_on_a_node(builder: str) -> None:
    running = record(None, builder=builder)
    found = decided(running, builders=(FARM0, FARM1))
    assert (found.verdict, found.reason) == (
        Verdict.WAIT_TURN,
        f"the cache is 50.0 GiB, more than 40.0 GiB; a prune of {builder} is running",
    )


def test_running_prune_that_nobody_reports_on_starts_the_cooldown() -> None:
    """Whoever ran it was killed: not forever running, and not at once again."""
    assert decided(record(None, seen=NOW - LEASE)).verdict is Verdict.WAIT_TURN
    assert decided(record(None, seen=NOW - LEASE - 1)).verdict is Verdict.COOLDOWN


def test_clock_put_back_does_not_stop_pruning() -> None:
    """A prune of next year does not make us wait until then."""
    tomorrow = record(NOW + 86400)
    assert decided(tomorrow).verdict is Verdict.PRUNE


def waits(
    builds: int | None = 0,
    since: float | None = None,
    full: tuple[str, ...] = (),
    critical: bool = False,
    wait_for_idle: float = 600.0,
) -> Decision:
    wanted = settings(options={"wait_for_idle": wait_for_idle})
    return hold(
        replace(DUE, critical=critical),
        wanted,
        running_builds=builds,
        waiting_since=since,
        full_platforms=full,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (waits(2), "it is large; 2 builds running, waits at most 10 min more"),
        (waits(1, NOW - 590), "it is large; 1 build running, waits at most 10 s more"),
        (waits(None), "it is large; may be building, waits at most 10 min more"),
    ],
)
def test_waits_for_builds(held: Decision, reason: str) -> None:
    assert (held.verdict, held.reason) == (Verdict.WAIT_BUILDS, reason)


@pytest.mark.parametrize(
    "held",
    [
        waits(0),
        waits(2, NOW - 600),
        waits(None, NOW - 600),
        waits(2, critical=True),
        waits(None, critical=True),
        waits(2, wait_for_idle=0.0),
    ],
)
def test_does_not_wait(held: Decision) -> None:
    assert held.verdict is Verdict.PRUNE


def test_waits_for_its_turn_even_in_the_critical_zone() -> None:
    held = waits(0, full=("linux/arm64", "linux/amd64"), critical=True)
    assert (held.verdict, held.reason) == (
        Verdict.WAIT_TURN,
        "it is large; waits for the prune of another node of linux/amd64, linux/arm64",
    )


PLATFORMS = {
    "n1": {"linux/amd64", "linux/386"},
    "n2": {"linux/amd64"},
    "n3": {"linux/amd64", "linux/arm64"},
    "n4": {"linux/arm64"},
}


@pytest.mark.parametrize(
    ("records", "limit", "full"),
    [
        ([], 1, set()),
        ([record(None, node="n2")], 1, {"linux/amd64"}),
        ([record(None, node="n2")], 2, set()),
        ([record(None, node="n2"), record(None, node="n3")], 2, {"linux/amd64"}),
        ([record(None, node="n2", builder="a"), record(None, node="n2", builder="b")], 2, set()),
        ([record(None, node="n4")], 1, set()),
        ([record(None, node="n1")], 1, set()),
        ([record(NOW - 1, node="n2")], 1, set()),
        ([record(None, node="n2", seen=NOW - LEASE - 1)], 1, set()),
        ([record(None, node="gone")], 1, set()),
    ],
)
def test_full_platforms(records: list[PruneRecord], limit: int, full: set[str]) -> None:
    assert full_platforms("n1", PLATFORMS, latest(*records), limit, NOW) == full
