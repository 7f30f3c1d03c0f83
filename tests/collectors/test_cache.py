"""Adding the records of a cache up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.builders import EMBEDDED
from exporter.collectors import cache
from exporter.collectors.base import Partial
from exporter.collectors.cache import summarise
from exporter.collectors.runner import Clock, run
from exporter.errors import Layer, Reason
from exporter.model import CacheType, Snapshot
from tests.collectors.fakes import (
    FARM0,
    NOW,
    SPEC,
    FakeControl,
    FakeNode,
    broken,
    collected,
    no_fetch,
)

DAY = 86400


def record(
    size: int = 1,
    kind: str = "regular",
    *,
    used: float | None = None,
    made: float = NOW,
    in_use: bool = False,
    shared: bool = False,
) -> pb.UsageRecord:
    """A record; ``used`` and ``made`` in seconds since the epoch."""
    result = pb.UsageRecord(Size=size, RecordType=kind, InUse=in_use, Shared=shared)
    result.CreatedAt.FromSeconds(int(made))
    if used is not None:
        result.LastUsedAt.FromSeconds(int(used))
    return result


def test_records_are_counted_by_type() -> None:
    records = [record(5), record(7), record(3, "source.local"), record(0, "exec.cachemount")]
    assert summarise("docker", records, NOW).types == {
        "regular": CacheType(12, 2),
        "source.local": CacheType(3, 1),
        "exec.cachemount": CacheType(0, 1),
    }


def test_in_use_is_not_reclaimable_and_shared_is_either() -> None:
    records = [record(1), record(2, in_use=True), record(4, shared=True)]
    summed = summarise("docker", [*records, record(8, in_use=True, shared=True)], NOW)
    assert (summed.size, summed.reclaimable, summed.in_use, summed.shared) == (15, 5, 10, 12)


def test_a_size_that_is_not_known_yet_counts_as_nothing() -> None:
    summed = summarise("docker", [record(-1), record(4)], NOW)
    assert summed.types == {"regular": CacheType(4, 2)}


def test_an_empty_cache_has_no_types_but_all_ages() -> None:
    summed = summarise("docker", [], NOW)
    assert (summed.types, summed.size) == ({}, 0)
    assert summed.idle == {"1d": 0, "7d": 0, "30d": 0}


@pytest.mark.parametrize(
    ("days", "over", "idle"),
    [
        (0, 0, {"1d": 0, "7d": 0, "30d": 0}),
        (1, 0, {"1d": 0, "7d": 0, "30d": 0}),
        (1, 1, {"1d": 1, "7d": 0, "30d": 0}),
        (7, 1, {"1d": 1, "7d": 1, "30d": 0}),
        (30, 1, {"1d": 1, "7d": 1, "30d": 1}),
    ],
)
def test_idle_means_unused_for_longer_than_the_age(
    days: int, over: int, idle: dict[str, int]
) -> None:
    used = NOW - days * DAY - over
    assert summarise("docker", [record(used=used, made=0)], NOW).idle == idle


def test_what_was_never_used_is_as_old_as_itself() -> None:
    idle = summarise("docker", [record(made=NOW - 8 * DAY)], NOW).idle
    assert idle == {"1d": 1, "7d": 1, "30d": 0}


def test_what_is_in_use_is_not_idle() -> None:
    assert summarise("docker", [record(used=0, in_use=True)], NOW).idle["30d"] == 0


@given(
    st.lists(
        st.builds(
            record,
            st.integers(-1, 2**50),
            st.sampled_from(["regular", "internal", "frontend", "source.git.checkout"]),
            used=st.none() | st.floats(0, NOW * 2),
            made=st.floats(0, NOW * 2),
            in_use=st.booleans(),
            shared=st.booleans(),
        )
    )
)
def test_the_sums_agree_with_each_other(records: list[pb.UsageRecord]) -> None:
    summed = summarise("docker", records, NOW)
    assert summed.size == sum(max(r.Size, 0) for r in records)
    assert summed.size == summed.reclaimable + summed.in_use
    assert sum(kind.records for kind in summed.types.values()) == len(records)
    assert summed.reclaimable >= summed.idle["1d"] >= summed.idle["7d"] >= summed.idle["30d"]


async def test_ages_are_counted_by_the_runner_s_clock() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    node = FakeNode(controls={"docker": FakeControl(records=[record(used=at.timestamp())])})

    async def idle(days: float) -> int:
        with freeze_time(at + timedelta(days=days), real_asyncio=True) as frozen:
            now = frozen().replace(tzinfo=UTC).timestamp
            clock = Clock(now, lambda: 0.0)
            outcome = await run(cache.COLLECTOR, node.client, Snapshot(SPEC), clock, no_fetch)
        (summed,) = outcome.value
        return int(summed.idle["7d"])

    assert await idle(7) == 0
    assert await idle(7.5) == 1


def _node(**controls: Any) -> FakeNode:
    return FakeNode(known=(EMBEDDED, FARM0), controls=controls)


async def test_every_builder_has_its_sums() -> None:
    node = _node(docker=FakeControl(records=[record(1)]), farm0=FakeControl(records=[record(2)]))
    caches = await collected(cache.COLLECTOR, node)
    assert [(c.builder, c.size) for c in caches] == [("docker", 1), ("farm0", 2)]


async def test_a_builder_that_fails_keeps_its_last_sums_and_their_time() -> None:
    before = summarise("farm0", [record(2)], NOW - 60)
    sick = broken(Layer.BUILDKIT, Reason.BUILDKIT)
    node = _node(docker=FakeControl(records=[record(1)]), farm0=FakeControl(records=sick))
    result = await collected(cache.COLLECTOR, node, previous=(before,))
    assert isinstance(result, Partial)
    assert result.value[1] == before
    assert result.error is sick
