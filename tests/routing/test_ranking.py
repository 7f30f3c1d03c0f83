"""The order of nodes for a build, and the reason of each place."""

from __future__ import annotations

from random import Random

import pytest

from exporter.canaries import CanaryKey, CanaryOutcome, CanaryRecord
from exporter.model import PruneCritical, PruneSettings, PruneTriggers, Snapshot, Threshold
from exporter.routing import Handout, LeftOut, Ranking, order, rank
from tests.routing.farms import AMD64, ARM64, DOWN, NOW, arm64, canary, node, worker


def ranked(
    *snapshots: Snapshot,
    platform: str = AMD64,
    canaries: tuple[CanaryRecord, ...] = (),
    handed: tuple[Handout, ...] = (),
) -> Ranking:
    latest: dict[CanaryKey, CanaryRecord] = {record.key: record for record in canaries}
    return rank(snapshots, platform, NOW, latest, handed)


def names(ranking: Ranking) -> list[str]:
    return [candidate.node for candidate in ranking.candidates]


FAILED, TIMEOUT, SKIPPED = CanaryOutcome.FAILED, CanaryOutcome.TIMEOUT, CanaryOutcome.SKIPPED

BETTER: list[tuple[str, Snapshot, Snapshot, tuple[CanaryRecord, ...], str]] = [
    ("native", node("z", building=9, free=0.06), arm64("a"), (), "which would emulate it"),
    ("disk", node("z", building=9), node("a", free=0.09), (), "whose disk is low"),
    ("inodes", node("z", building=9), node("a", inodes_free=0.09), (), "whose disk is low"),
    ("canary", node("z", building=9), node("a"), (canary("a", 0, FAILED),), "whose latest canary"),
    ("late", node("z", building=9), node("a"), (canary("a", 0, TIMEOUT),), "whose latest canary"),
    ("idle", node("z", building=1), node("a", building=2), (), "which has more to build"),
    ("told", node("z", building=0), node("a", building=None), (), "which has more to build"),
    ("not told", node("z", building=None), node("a", building=1), (), "which has more to build"),
    ("fast", node("z", free=0.2), node("a"), (canary("z", 500), canary("a", 300)), "slower by"),
    ("slow", node("z", free=0.2), node("a"), (canary("a", 99), canary("c", 400)), "slower by"),
    ("empty", node("z", free=0.7), node("a", free=0.5), (), "whose disk is fuller"),
]


@pytest.mark.parametrize(
    ("better", "worse", "canaries", "why"), [row[1:] for row in BETTER], ids=[r[0] for r in BETTER]
)
def test_what_makes_a_node_better(
    better: Snapshot, worse: Snapshot, canaries: tuple[CanaryRecord, ...], why: str
) -> None:
    """Each reason weighs more than those after it, and is told."""
    others = [node("c", building=99)] if len(canaries) == 2 and canaries[1].node == "c" else []
    ranking = ranked(worse, better, *others, canaries=canaries)
    assert names(ranking)[:2] == ["z", "a"]
    assert "; ahead of a, " in ranking.why
    assert why in ranking.why


SAME: list[tuple[str, Snapshot, tuple[CanaryRecord, ...]]] = [
    ("a speed that hardly differs", node("z"), (canary("z", 400), canary("a", 410))),
    ("a speed that is not known", node("z"), (canary("a", 410),)),
    ("a canary of long ago", node("z"), (canary("a", 0, FAILED, age=8 * 86400),)),
    ("a canary that was skipped", node("z"), (canary("a", 0, SKIPPED),)),
    ("another platform's canary", node("z"), (canary("a", 0, FAILED, platform=ARM64),)),
    ("another builder's canary", node("z"), (canary("a", 0, FAILED, builder="other"),)),
    ("a disk that hardly differs", node("z", free=0.551), ()),
    ("a disk that is not known", node("z", free=None), ()),
]


@pytest.mark.parametrize(
    ("other", "canaries"), [row[1:] for row in SAME], ids=[row[0] for row in SAME]
)
def test_what_makes_no_difference(other: Snapshot, canaries: tuple[CanaryRecord, ...]) -> None:
    ranking = ranked(node("a", free=0.549), other, canaries=canaries)
    assert [candidate.node for candidate in ranking.equals] == ["a", "z"]
    assert ranking.why.endswith("; as good as z")


def test_the_usual_speed_is_that_of_nodes_of_the_same_kind() -> None:
    """Emulation is slow; that makes no native node fast."""
    speeds = (canary("z", 400), canary("e1", 10), canary("e2", 10))
    ranking = ranked(node("z"), node("a"), arm64("e1"), arm64("e2"), canaries=speeds)
    assert [candidate.node for candidate in ranking.equals] == ["a", "z"]


def test_equals_take_turns() -> None:
    """Who was named longest ago is next; of those that never were, the first by name."""
    handed: tuple[Handout, ...] = ()
    said = []
    for second in range(6):
        best = ranked(node("b"), node("a"), node("c"), handed=handed).candidates[0]
        said.append(best.node)
        handed = (*handed, Handout(best.node, NOW - 1000 + second, None))
    assert said == ["a", "b", "c", "a", "b", "c"]


def test_chance_decides_between_equals_only() -> None:
    ranking = ranked(node("a"), node("b"), node("c"), node("d", building=1))
    drawn = [ranking.drawn(Random(seed)) for seed in range(40)]
    assert {names(one)[0] for one in drawn} == {"a", "b", "c"}
    assert {names(one)[3] for one in drawn} == {"d"}
    assert ranked().drawn(Random(1)).candidates == ()


def test_disk_at_the_critical_threshold_of_pruning() -> None:
    """It is low then, however much that is."""
    critical = PruneCritical(disk_free_below=Threshold(share=0.5))
    prune = PruneSettings(Threshold(bytes=9), PruneTriggers(), critical)
    ranking = ranked(node("a", prune=prune, free=0.45), node("b", building=3, free=0.45))
    assert names(ranking) == ["b", "a"]
    assert "low: only 45 % of the disk free" in ranking.candidates[1].why


def test_what_is_said_of_the_best() -> None:
    ranking = ranked(
        node("n1", building=1, free=0.62),
        node("n2", building=2, free=0.62),
        canaries=(canary("n1", 400), canary("n2", 400)),
        handed=(Handout("n2", NOW - 5, 3),),
    )
    assert ranking.why == (
        "native on farm0; 1 build running; 62 % of the disk free; 400.0 MiB/s by canary; "
        "ahead of n2, which has more to build"
    )
    assert ranking.candidates[1].why == (
        "native on farm0; 2 builds running, 1 more on the way; 62 % of the disk free; "
        "400.0 MiB/s by canary"
    )


def test_an_emulated_node_says_so() -> None:
    ranking = ranked(node("a", building=None), platform=ARM64)
    (only,) = ranking.candidates
    assert only.emulated
    assert ranking.why.startswith("emulated (slow) on farm0; no word of running builds; ")


def test_no_node_can() -> None:
    ranking = ranked(node("b"), node("a", reachability=DOWN), platform="linux/s390x")
    assert names(ranking) == []
    assert ranking.why == (
        "no node can build linux/s390x now: a: down: transport: timeout: no answer; "
        "b: farm0: linux/s390x is not offered, not even emulated"
    )
    assert ranking.document()["node"] is None
    assert ranked().why == "no node can build linux/amd64 now: there is no node"


def test_the_document() -> None:
    """What programs are told: the names stay once released."""
    ranking = ranked(node("a"), node("b", reachability=DOWN), canaries=(canary("a", 1),))
    assert ranking.document() == {
        "platform": "linux/amd64",
        "node": "a",
        "builder": "farm0",
        "emulated": False,
        "why": ranking.why,
        "candidates": [
            {
                "node": "a",
                "builder": "farm0",
                "emulated": False,
                "running": 0,
                "handed_out": 0,
                "disk_free": 0.55,
                "throughput": 1048576.0,
                "why": ranking.candidates[0].why,
            }
        ],
        "left_out": [{"node": "b", "why": "down: transport: timeout: no answer"}],
    }


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        ([AMD64, ARM64], ["a2", "r1", "a1", "down", "full"]),
        ([AMD64], ["a2", "a1", "r1", "down", "full"]),
        ([ARM64], ["r1", "a2", "a1", "down", "full"]),
        (["linux/s390x"], ["a1", "a2", "down", "full", "r1"]),
        ([], []),
    ],
)
def test_order_of_a_whole_farm(platforms: list[str], expected: list[str]) -> None:
    """Each node by the platform it is best for; then those that can't build now."""
    snapshots = [
        node("full", free=0.01),
        node("a1", building=2),
        node("down", reachability=DOWN),
        arm64("r1"),
        node("a2"),
    ]
    found = order(snapshots, platforms, NOW)
    assert [place.node for place in found] == expected
    assert all(isinstance(place, LeftOut) for place in found if place.node in ("down", "full"))


def test_a_node_of_several_builders_counts_all_their_builds() -> None:
    two = (worker("farm0"), worker("farm1"), worker("other", selected=False))
    ranking = ranked(node("a", *two, building=2), node("b", building=3))
    assert [(c.node, c.running) for c in ranking.candidates] == [("b", 3), ("a", 4)]
