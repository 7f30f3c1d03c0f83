"""What counts of a node, and why it is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.canaries import CanaryOutcome, CanaryRecord
from exporter.errors import Layer, Reason
from exporter.model import CollectSettings, Failure, Reachability, Snapshot, Worker
from exporter.platforms import includes
from exporter.routing.facts import begun, facts, running
from tests.routing.farms import AMD64, ARM64, NOW, busier, canary, deaf, node, worker

STOPPED = Reachability(
    {Layer.TRANSPORT: True, Layer.ENGINE: True, Layer.BUILDKIT: False},
    Failure(Layer.BUILDKIT, Reason.BUILDKIT, "farm0 does not run"),
    None,
)

LEFT_OUT: list[tuple[Snapshot, str]] = [
    (replace(node("n"), reachability=None), "not looked at yet"),
    (node("n", age=41), "not looked at for 41 s"),
    (node("n", reachability=STOPPED), "down: buildkit: buildkit: farm0 does not run"),
    (replace(node("n"), workers=None), "its builders are not known yet"),
    (node("n", worker(selected=False)), "its builders are not known yet"),
    (node("n", worker(running=False)), "farm0: not running"),
    (node("n", worker(native=ARM64, emulated="")), "farm0: linux/amd64 is not offered, not even"),
    (
        node("n", worker("a", running=False), worker("b", native="linux/s390x", emulated="")),
        "b: linux/amd64 is not offered",
    ),
    (node("n", free=0.049), "disk full: 5 % of the disk free"),
    (node("n", inodes_free=0.02), "disk full: 2 % of the inodes free"),
]


@pytest.mark.parametrize(("snapshot", "why"), LEFT_OUT, ids=[row[1] for row in LEFT_OUT])
def test_a_node_that_is_left_out(snapshot: Snapshot, why: str) -> None:
    said = facts(snapshot, AMD64, NOW, {})
    assert isinstance(said, str)
    assert said.startswith(why)


def test_two_looks_may_be_missed_whatever_the_interval() -> None:
    snapshot = node("n", age=200)
    slow = replace(snapshot.node, collect=CollectSettings(reachability=100, timeout=1))
    assert not isinstance(facts(replace(snapshot, node=slow), AMD64, NOW, {}), str)
    assert isinstance(facts(replace(snapshot, node=slow), AMD64, NOW + 2, {}), str)


def test_a_look_in_the_future_is_new() -> None:
    """The clock was put back."""
    assert not isinstance(facts(node("n", age=-3600), AMD64, NOW, {}), str)


@pytest.mark.parametrize(
    ("builders", "canaries", "best"),
    [
        ([worker("a", ARM64, AMD64), worker("b")], [], "b"),
        ([worker("a", running=False), worker("b")], [], "b"),
        ([worker("a", selected=False), worker("b")], [], "b"),
        ([worker("a", "linux/s390x"), worker("b")], [], "b"),
        ([worker("b"), worker("a")], [], "a"),
        ([worker("a"), worker("b")], [canary("n", 0, CanaryOutcome.FAILED, builder="a")], "b"),
    ],
    ids=["native", "running", "selected", "offering", "by name", "well"],
)
def test_the_best_builder_of_a_node(
    builders: list[Worker], canaries: list[CanaryRecord], best: str
) -> None:
    found = facts(node("n", *builders), AMD64, NOW, {record.key: record for record in canaries})
    assert not isinstance(found, str)
    assert (found.builder.name, found.emulated) == (best, False)


def test_a_platform_that_two_entries_offer_is_native_if_one_of_them_is() -> None:
    both = worker(native="linux/arm/v7", emulated="linux/arm/v6")
    found = facts(node("n", both), "linux/arm/v6", NOW, {})
    assert not isinstance(found, str)
    assert not found.emulated


@pytest.mark.parametrize(
    ("offered", "wanted", "does"),
    [
        (AMD64, AMD64, True),
        ("linux/amd64/v3", AMD64, True),
        ("linux/amd64/v3", "linux/amd64/v2", True),
        (AMD64, "linux/amd64/v2", False),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        (AMD64, "linux/386", False),
        (ARM64, "linux/arm/v7", False),
        (AMD64, "windows/amd64", False),
        ("linux/riscv64", "linux/riscv64", True),
        ("linux/riscv64/v2", "linux/riscv64/v1", False),
        ("linux/mips64", "linux/mips64le", False),
        ("linux/amd64/odd", AMD64, False),
    ],
)
def test_which_platform_includes_which(offered: str, wanted: str, does: bool) -> None:
    assert includes(offered, wanted) is does


def test_begun_builds_are_those_that_run_and_that_ended() -> None:
    """Of the selected builders, where all of them say."""
    two = node("n", worker("a"), worker("b", selected=False))
    assert begun(busier(two, running=2, total=40), NOW) == 42
    assert begun(node("n", building=None), NOW) is None
    assert begun(replace(two, builds=None), NOW) is None


@pytest.mark.parametrize(("since", "known"), [(39.0, 3), (41.0, None), (None, None)])
def test_running_builds_count_while_they_are_followed(
    since: float | None, known: int | None
) -> None:
    assert running(deaf(node("n", building=3), since), NOW) == known


def test_throughput_of_a_failed_canary_does_not_count() -> None:
    good, bad = canary("n", 100), canary("n", 100)
    bad = replace(bad, outcome=CanaryOutcome.TIMEOUT)
    for record, expected in ((good, 100 * 1024**2), (bad, None)):
        found = facts(node("n"), AMD64, NOW, {record.key: record})
        assert not isinstance(found, str)
        assert found.throughput == expected
