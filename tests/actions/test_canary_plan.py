"""Which canaries a node has, and when there is to be none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.actions.canary_plan import Moment, Target, Verdict, down, judge, targets
from exporter.canaries import CanaryOutcome
from exporter.errors import Layer, Reason
from exporter.model import (
    Builder,
    BuilderPlatform,
    CanarySettings,
    Driver,
    EngineInfo,
    Failure,
    Learned,
    PruneCritical,
    Reachability,
    Snapshot,
    Worker,
    Workers,
)
from tests.actions.facts import DOWN, FARM0, FARM1, GIB, UP, disk, gib, snapshot

AMD64 = BuilderPlatform("linux/amd64", emulated=False)
I386 = BuilderPlatform("linux/386", emulated=False)
V2 = BuilderPlatform("linux/amd64/v2", emulated=False)
QEMU = BuilderPlatform("linux/arm64", emulated=True)
ENGINE = EngineInfo("26.1.5", "1.45", "linux", "amd64", "/var/lib/docker")
EMBEDDED = Builder("docker", Driver.DOCKER, selected=False)
BOTH = ("linux/arm64", "linux/amd64")
SMALL = CanarySettings(disk=GIB)
TARGET = Target("n1", "farm0", "linux/amd64")


def node(
    *offered: BuilderPlatform,
    expected: tuple[str, ...] = (),
    engine: EngineInfo | None = ENGINE,
    builders: tuple[Builder, ...] = (FARM0,),
) -> Snapshot:
    workers = tuple(Worker(builder, "v0.32.2", offered, None) for builder in builders)
    return replace(
        snapshot(platforms=expected), workers=Learned(Workers(engine, workers), 1_800_000_000.0)
    )


def platforms(found: Snapshot) -> list[tuple[str, bool]]:
    return [(target.platform, target.emulated) for target in targets(found)]


@pytest.mark.parametrize(
    ("offered", "expected", "engine", "found"),
    [
        # Without a word in the configuration: what the machine is made for, and no variants.
        ((V2, AMD64, I386, QEMU), (), ENGINE, [("linux/amd64", False)]),
        ((AMD64, V2, QEMU), (), None, [("linux/amd64", False)]),
        ((QEMU,), (), None, []),
        # What is expected is built, as it is offered.
        ((AMD64, QEMU), BOTH, ENGINE, [("linux/arm64", True), ("linux/amd64", False)]),
        ((V2,), ("linux/amd64",), ENGINE, [("linux/amd64", False)]),
    ],
)
def test_platforms(
    offered: tuple[BuilderPlatform, ...],
    expected: tuple[str, ...],
    engine: EngineInfo | None,
    found: list[tuple[str, bool]],
) -> None:
    assert platforms(node(*offered, expected=expected, engine=engine)) == found


def test_a_platform_that_is_not_offered_is_missing() -> None:
    """Not even emulated; a lesser variant of what is offered is not missing."""
    wanted = ("linux/riscv64", "linux/amd64")
    missing, there = targets(node(V2, QEMU, expected=wanted))
    assert missing.refusal == (
        CanaryOutcome.MISSING,
        "builder farm0 does not offer linux/riscv64, not even emulated",
    )
    assert there.refusal is None


def test_selected_builders_only() -> None:
    found = targets(node(AMD64, builders=(FARM0, EMBEDDED, FARM1)))
    assert [target.builder for target in found] == ["farm0", "farm1"]


def test_a_builder_of_which_nothing_is_known_yet() -> None:
    """It is there since the last look; or it was never there, and the configuration names it."""
    (known, fresh) = targets(node(AMD64), builders=(FARM0, FARM1))
    assert known.refusal is None
    assert fresh.refusal == (CanaryOutcome.SKIPPED, "the builder's platforms are not known yet")


def test_nothing_is_known_of_the_node_yet() -> None:
    unseen = replace(snapshot(reach=None), workers=None)
    assert list(targets(unseen)) == []
    assert down(unseen) == "the node was not looked at yet"


@pytest.mark.parametrize(
    ("reach", "said"),
    [
        (UP, None),
        (DOWN, "the node is down: transport: timeout: no answer"),
        # Another builder of the node may be well.
        (Reachability({}, Failure(Layer.BUILDKIT, Reason.BUILDKIT, "gone"), None), None),
    ],
)
def test_down(reach: Reachability, said: str | None) -> None:
    assert down(snapshot(reach=reach)) == said


def skipped(why: str) -> Verdict:
    return Verdict(CanaryOutcome.SKIPPED, why)


BUSY = "2 builds running on the node"


@pytest.mark.parametrize(
    ("moment", "verdict"),
    [
        (Moment(FARM0), Verdict()),
        (Moment(None), skipped("builder farm0 is gone")),
        (Moment(replace(FARM0, running=False)), skipped("builder farm0 does not run")),
        (
            Moment(replace(FARM0, running=False, container=None)),
            skipped("builder farm0 is gone"),
        ),
        (Moment(FARM0, pruning=True), skipped("a prune runs on the node")),
        (Moment(FARM0, building=2), skipped(BUSY)),
        (Moment(FARM0, disk=disk()), Verdict()),
        # 100 GiB, of which the canary takes one, and a little.
        (Moment(FARM0, disk=disk(free=6.1)), Verdict()),
        (
            Moment(FARM0, disk=disk(free=6.0)),
            skipped("too little is free: 6.0 GiB (6 %) of the disk, 80 % of the inodes"),
        ),
        (Moment(FARM0, disk=disk(inodes_free=50)), Verdict()),
        (
            Moment(FARM0, disk=disk(inodes_free=49)),
            skipped("too little is free: 60.0 GiB (60 %) of the disk, 5 % of the inodes"),
        ),
        # A filesystem that does not count inodes.
        (Moment(FARM0, disk=replace(disk(), inodes=0, inodes_free=0)), Verdict()),
    ],
)
def test_whether_to_build_now(moment: Moment, verdict: Verdict) -> None:
    assert judge(TARGET, SMALL, None, moment) == verdict


def test_a_busy_node_is_built_on_where_that_is_wanted() -> None:
    """That builds ran is told with the timings."""
    settings = replace(SMALL, skip_while_building=False)
    assert judge(TARGET, settings, None, Moment(FARM0, building=2)) == Verdict(None, BUSY)


@pytest.mark.parametrize(
    ("critical", "free", "inodes", "built"),
    [
        (PruneCritical(disk_free_below=gib(20)), 22, 800, True),
        (PruneCritical(disk_free_below=gib(20)), 20, 800, False),
        (PruneCritical(disk_free_below=gib(1)), 3, 800, True),
        (PruneCritical(inodes_free_below=0.3), 60, 300, True),
        (PruneCritical(inodes_free_below=0.3), 60, 299, False),
        # What the configuration does not say is as without it.
        (PruneCritical(inodes_free_below=0.3), 5, 800, False),
        (PruneCritical(disk_free_below=gib(1)), 60, 49, False),
    ],
)
def test_what_is_critical_for_a_prune_is_for_a_canary(
    critical: PruneCritical, free: float, inodes: int, built: bool
) -> None:
    moment = Moment(FARM0, disk=disk(free=free, inodes_free=inodes))
    assert (judge(TARGET, SMALL, critical, moment).outcome is None) is built


def test_a_missing_platform_is_told_whatever_the_node_is_at() -> None:
    """But not where the builder does not run: then nobody knows."""
    missing = replace(TARGET, refusal=(CanaryOutcome.MISSING, "not offered"))
    busy = Moment(FARM0, building=1, disk=disk(free=1))
    assert judge(missing, SMALL, None, busy) == Verdict(CanaryOutcome.MISSING, "not offered")
    assert judge(missing, SMALL, None, Moment(None)).outcome is CanaryOutcome.SKIPPED
