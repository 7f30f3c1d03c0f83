"""What holds of every decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.actions.policy import STALE_LOOKS, decide, own
from exporter.model import (
    Cache,
    Disk,
    PruneCritical,
    PruneSettings,
    PruneTriggers,
    Snapshot,
    Threshold,
)
from exporter.prunes import (
    BuilderKey,
    PruneRecord,
    PruneRequest,
    Trigger,
    Verdict,
)
from tests.actions.facts import DOWN, FARM0, GIB, NOW, UP, cache, record, snapshot

sizes = st.integers(0, 200 * GIB) | st.integers(0, 5)
shares = st.floats(0, 1)
thresholds = st.builds(Threshold, bytes=sizes) | st.builds(Threshold, share=shares)
triggers = st.builds(
    PruneTriggers,
    cache_above=st.none() | thresholds,
    disk_free_below=st.none() | thresholds,
    inodes_free_below=st.none() | shares,
    full_within=st.none() | st.floats(0, 1e6),
)
critical = st.builds(
    PruneCritical,
    disk_free_below=st.none() | thresholds,
    inodes_free_below=st.none() | shares,
)
all_settings = st.builds(
    PruneSettings,
    keep_storage=thresholds,
    when=triggers,
    critical=critical,
    cooldown=st.floats(0, 7200),
    wait_for_idle=st.floats(0, 7200),
)
disks = st.builds(
    Disk,
    path=st.just("/var/lib/docker"),
    size=sizes,
    available=sizes,
    inodes=st.integers(0, 10**7),
    inodes_free=st.integers(0, 10**7),
    full_at=st.none() | st.floats(NOW - 1e6, NOW + 1e6),
)
# Younger and older than counts, and of a clock that was put back.
ages = st.floats(-3600, 1000)
ends = st.none() | st.floats(NOW - 10_000, NOW + 10_000)
histories = st.dictionaries(
    st.just(("n1", "farm0")),
    st.builds(record, ends, outcome=st.none()),
    max_size=1,
)


@st.composite
def nodes(draw: st.DrawFn) -> Snapshot:
    """Whatever may be known of a node."""
    known = snapshot(
        Cache(
            "farm0",
            NOW - draw(ages),
            cache(size=draw(sizes) / GIB).types,
            0,
            0,
            shared=draw(st.integers(0, 3 * GIB)),
            idle={},
        ),
        disk=draw(disks),
        disk_at=NOW - draw(ages),
        reach=draw(st.sampled_from([UP, DOWN, None])),
    )
    return replace(
        known,
        cache=known.cache if draw(st.booleans()) else None,
        disk=known.disk if draw(st.booleans()) else None,
    )


@given(nodes(), all_settings, histories)
def test_a_prune_always_keeps_something(
    known: Snapshot, wanted: PruneSettings, latest: Mapping[BuilderKey, PruneRecord]
) -> None:
    found = decide(known, FARM0, wanted, latest, NOW)
    if found.verdict is Verdict.PRUNE:
        assert found.keep > 0
        assert found.trigger is not None
        assert known.cache is not None
        assert found.keep < own(known.cache.value[0])
        PruneRequest(found.trigger, found.reason, found.keep)


@given(nodes(), all_settings, histories)
def test_no_decision_but_on_what_is_known_now(
    known: Snapshot, wanted: PruneSettings, latest: Mapping[BuilderKey, PruneRecord]
) -> None:
    found = decide(known, FARM0, wanted, latest, NOW)
    assert found.reason
    if found.verdict is Verdict.STALE:
        assert found.trigger is None
        return
    collect = known.node.collect
    assert known.reachability is not None
    assert known.reachability.value is UP
    assert known.disk is not None
    assert known.cache is not None
    assert NOW - known.disk.at <= STALE_LOOKS * collect.disk + collect.timeout
    assert NOW - known.cache.value[0].at <= STALE_LOOKS * collect.cache + collect.timeout


@given(st.integers(max_value=0), st.booleans())
def test_a_request_to_keep_nothing_must_say_so(keep: int, empty: bool) -> None:
    if keep == 0 and empty:
        assert PruneRequest(Trigger.MANUAL, "by hand", 0, empty=True).keep == 0
        return
    with pytest.raises(ValueError, match="must be asked for"):
        PruneRequest(Trigger.MANUAL, "by hand", keep, empty=empty)


@given(st.integers(min_value=1))
def test_a_request_to_empty_keeps_nothing(keep: int) -> None:
    with pytest.raises(ValueError, match="must be asked for"):
        PruneRequest(Trigger.MANUAL, "by hand", keep, empty=True)
