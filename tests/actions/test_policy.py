"""What makes a prune due, how far it goes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.actions.policy import decide, native_platforms, still_due
from exporter.model import Disk, PruneCritical, PruneSettings
from exporter.prunes import Decision, Trigger, Verdict
from tests.actions.facts import FARM0, GIB, NOW, cache, disk, gib, settings, share, snapshot

CRITICAL = PruneCritical(disk_free_below=share(0.05), inodes_free_below=0.03)


def decided(size: float = 50, shared: float = 0, on: Disk | None = None, **when: Any) -> Decision:
    """The decision on a builder with a cache of ``size`` GiB."""
    return of(settings(**when), size, shared, on)


def of(
    wanted: PruneSettings, size: float = 50, shared: float = 0, on: Disk | None = None
) -> Decision:
    return decide(
        snapshot(cache(size=size, shared=shared), disk=on or disk()), FARM0, wanted, {}, NOW
    )


@pytest.mark.parametrize(
    ("on", "when", "trigger", "reason"),
    [
        (
            disk(),
            {"cache_above": gib(40)},
            Trigger.CACHE,
            "the cache is 50.0 GiB, more than 40.0 GiB",
        ),
        (
            disk(),
            {"cache_above": share(0.3)},
            Trigger.CACHE,
            "the cache is 50.0 GiB, more than 30 %",
        ),
        (
            disk(free=9),
            {"disk_free_below": share(0.1)},
            Trigger.DISK,
            "9.0 GiB (9 %) of the disk is free, less than 10 %",
        ),
        (
            disk(free=9),
            {"disk_free_below": gib(10)},
            Trigger.DISK,
            "9.0 GiB (9 %) of the disk is free, less than 10.0 GiB",
        ),
        (
            disk(inodes_free=99),
            {"inodes_free_below": 0.1},
            Trigger.INODES,
            "10 % of the inodes are free, less than 10 %",
        ),
        (
            disk(full_at=NOW + 3599),
            {"full_within": 3600.0},
            Trigger.FORECAST,
            "the disk will be full in 59 min, as it fills now",
        ),
    ],
)
def test_trigger(on: Disk, when: dict[str, Any], trigger: Trigger, reason: str) -> None:
    found = decided(on=on, **when)
    assert found == Decision(
        "n1", "farm0", Verdict.PRUNE, reason, trigger, critical=False, keep=20 * GIB
    )


@pytest.mark.parametrize(
    ("on", "when"),
    [
        (disk(), {"cache_above": gib(50)}),
        (disk(free=10), {"disk_free_below": share(0.1)}),
        (disk(inodes_free=100), {"inodes_free_below": 0.1}),
        (disk(full_at=NOW + 3600), {"full_within": 3600.0}),
        (disk(full_at=None), {"full_within": 3600.0}),
        # A filesystem without a fixed number of inodes, as btrfs has it, says 0 of 0.
        (replace(disk(), inodes=0, inodes_free=0), {"inodes_free_below": 0.1}),
    ],
)
def test_threshold_that_is_just_reached_is_not_passed(on: Disk, when: dict[str, Any]) -> None:
    found = decided(on=on, **when)
    assert (found.verdict, found.trigger) == (Verdict.FINE, None)


def test_records_that_images_share_do_not_count() -> None:
    """BuildKit does not count them either: a prune to what to keep would remove nothing."""
    assert decided(size=50, shared=10.1).verdict is Verdict.FINE


def test_most_urgent_trigger_is_told() -> None:
    when: dict[str, Any] = {
        "full_within": 3600.0,
        "cache_above": gib(40),
        "inodes_free_below": 0.2,
        "disk_free_below": gib(10),
    }
    on = disk(free=9, inodes_free=100, full_at=NOW)
    order = []
    while when:
        trigger = decided(on=on, **when).trigger
        assert trigger is not None
        order.append(trigger)
        name = next(name for name in reversed(when) if name.startswith(_KEYS[trigger]))
        del when[name]
    assert order == [Trigger.DISK, Trigger.INODES, Trigger.CACHE, Trigger.FORECAST]


_KEYS = {
    Trigger.DISK: "disk",
    Trigger.INODES: "inodes",
    Trigger.CACHE: "cache",
    Trigger.FORECAST: "full",
}


@pytest.mark.parametrize(
    ("on", "critical", "trigger"),
    [
        (disk(free=4.9), True, Trigger.DISK),
        (disk(free=5), False, Trigger.DISK),
        (disk(inodes_free=29), True, Trigger.INODES),
        (disk(inodes_free=30), False, Trigger.INODES),
        (disk(), False, Trigger.CACHE),
    ],
)
def test_critical(on: Disk, critical: bool, trigger: Trigger) -> None:
    wanted = settings(
        critical=CRITICAL, disk_free_below=share(0.15), inodes_free_below=0.1, cache_above=gib(40)
    )
    found = of(wanted, on=on)
    assert (found.verdict, found.critical, found.trigger) == (Verdict.PRUNE, critical, trigger)


def test_critical_alone_is_a_trigger() -> None:
    wanted = settings(critical=CRITICAL, cache_above=gib(90))
    assert of(wanted, on=disk(free=4)).reason == "4.0 GiB (4 %) of the disk is free, less than 5 %"


@pytest.mark.parametrize("size", [20, 19, 0])
def test_nothing_to_free(size: float) -> None:
    """A full disk is not the cache's fault when the cache is at what to keep."""
    found = decided(size=size, on=disk(free=1), disk_free_below=gib(10))
    assert (found.verdict, found.trigger, found.keep) == (
        Verdict.NOTHING_TO_FREE,
        Trigger.DISK,
        20 * GIB,
    )
    assert "is not above keep_storage (20.0 GiB)" in found.reason


def test_inodes_run_out_below_keep_storage() -> None:
    """How many files a cache may have can't be said in bytes: it is halved, again and again."""
    found = decided(size=8, on=disk(inodes_free=1), inodes_free_below=0.1)
    assert (found.verdict, found.keep) == (Verdict.PRUNE, 4 * GIB)


def test_inodes_count_even_when_the_disk_is_low_for_another_reason() -> None:
    found = decided(
        size=8, on=disk(free=1, inodes_free=1), inodes_free_below=0.1, disk_free_below=gib(10)
    )
    assert (found.verdict, found.trigger, found.keep) == (Verdict.PRUNE, Trigger.INODES, 4 * GIB)


@pytest.mark.parametrize("bytes_", [0, 1])
def test_halving_ends_before_nothing(bytes_: int) -> None:
    found = decided(size=bytes_ / GIB, on=disk(inodes_free=1), inodes_free_below=0.1)
    assert found.verdict is Verdict.NOTHING_TO_FREE


@pytest.mark.parametrize(
    ("keep", "above", "reason"),
    [
        (gib(100), None, "keep_storage (100.0 GiB) is not less than the filesystem (100.0 GiB)"),
        (gib(101), None, "keep_storage (101.0 GiB) is not less than the filesystem (100.0 GiB)"),
        (share(0.5), gib(40), "keep_storage (50.0 GiB) is more than cache_above (40.0 GiB)"),
        (gib(50), share(0.4), "keep_storage (50.0 GiB) is more than cache_above (40.0 GiB)"),
        (share(1e-12), None, "keep_storage is nothing on this filesystem; the cache would be lost"),
    ],
)
def test_refused(keep: Any, above: Any, reason: str) -> None:
    wanted = settings(keep=keep, cache_above=above, disk_free_below=gib(99))
    found = of(wanted, on=disk(free=1))
    assert (found.verdict, found.reason, found.trigger) == (Verdict.REFUSED, reason, None)


def test_keep_as_much_as_the_trigger_is_no_mistake() -> None:
    assert of(settings(keep=gib(40)), size=41).verdict is Verdict.PRUNE


def test_still_due_looks_at_what_made_it_due() -> None:
    wanted = settings(disk_free_below=gib(10), cache_above=gib(40))
    due = decided(on=disk(free=9), disk_free_below=gib(10))
    judge = still_due(due, wanted)
    assert judge is not None
    assert judge(90 * GIB, disk(free=11)) is False
    assert judge(0, disk(free=9)) is True


def test_a_forecast_is_not_judged_on_the_spot() -> None:
    due = decided(on=disk(full_at=NOW), full_within=60.0)
    assert still_due(due, settings(full_within=60.0)) is None


def test_platforms_are_those_configured_else_the_native_ones() -> None:
    assert native_platforms(snapshot()) == {"linux/amd64"}
    assert native_platforms(snapshot(platforms=("linux/arm64/v8", "linux/riscv64"))) == {
        "linux/arm64",
        "linux/riscv64",
    }
