"""The metrics of pruning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from exporter.exposition.prunes import PruneMetrics
from exporter.prunes import Decision, Outcome, PruneRecord, Trigger, Verdict

LABELS = {"node": "n1", "builder": "farm0"}
FINE = Decision("n1", "farm0", Verdict.FINE, "no threshold is passed")
DUE = Decision("n1", "farm0", Verdict.WAIT_BUILDS, "the disk is low", Trigger.DISK, keep=1)
RECORD = PruneRecord(
    id="1",
    node="n1",
    builder="farm0",
    trigger=Trigger.DISK,
    reason="the disk is low",
    keep=1,
    all=False,
    started_at=1000.0,
    seen_at=1012.0,
    finished_at=1012.0,
    outcome=Outcome.OK,
    effective=True,
    reclaimed=500,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PruneMetrics:
    return PruneMetrics(registry, {"n1"})


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {**LABELS, **labels})


def test_counters_start_at_zero(metrics: PruneMetrics, registry: CollectorRegistry) -> None:
    """The first prune must be seen as an increase."""
    assert value(registry, "buildfarm_prunes_total", trigger="disk") is None
    metrics.decided(FINE)
    for trigger in Trigger:
        assert value(registry, "buildfarm_prunes_total", trigger=trigger) == 0
    for name in ("prunes_failed", "prunes_deferred", "prunes_ineffective", "prune_reclaimed_bytes"):
        assert value(registry, f"buildfarm_{name}_total") == 0
    assert value(registry, "buildfarm_prune_duration_seconds_count") == 0


def test_a_prune_is_counted(metrics: PruneMetrics, registry: CollectorRegistry) -> None:
    """What it freed, how long it took, when it ended."""
    metrics.ended(RECORD)
    assert value(registry, "buildfarm_prunes_total", trigger="disk") == 1
    assert value(registry, "buildfarm_prune_reclaimed_bytes_total") == 500
    assert value(registry, "buildfarm_prune_duration_seconds_sum") == 12
    assert value(registry, "buildfarm_prune_last_timestamp_seconds") == 1012
    assert value(registry, "buildfarm_prunes_failed_total") is None


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"outcome": Outcome.FAILED}, "buildfarm_prunes_failed_total"),
        ({"outcome": Outcome.INTERRUPTED}, "buildfarm_prunes_failed_total"),
        ({"effective": False}, "buildfarm_prunes_ineffective_total"),
    ],
)
def test_a_bad_end_is_counted_besides(
    metrics: PruneMetrics, registry: CollectorRegistry, changes: dict[str, object], counted: str
) -> None:
    """A total and a failed counter, never a label for the result."""
    metrics.ended(replace(RECORD, **changes))  # type: ignore[arg-type]
    assert value(registry, counted) == 1
    assert value(registry, "buildfarm_prunes_total", trigger="disk") == 1


def test_how_the_last_prune_ended(metrics: PruneMetrics, registry: CollectorRegistry) -> None:
    """Of one before this start too; a running one and a dry run say nothing of it."""
    for outcome, shown in (
        (Outcome.RUNNING, None),
        (Outcome.INTERRUPTED, 0),
        (Outcome.DRY_RUN, 0),
        (Outcome.OK, 1),
    ):
        metrics.known(replace(RECORD, outcome=outcome))
        assert value(registry, "buildfarm_prune_last_success") == shown


def test_a_node_that_left_the_configuration_has_no_series(
    metrics: PruneMetrics, registry: CollectorRegistry
) -> None:
    """The history remembers its prunes, and so may another daemon on it."""
    metrics.known(replace(RECORD, node="gone"))
    metrics.ended(replace(RECORD, node="gone"))
    assert not [sample for metric in registry.collect() for sample in metric.samples]


def test_a_dry_run_is_no_prune(metrics: PruneMetrics, registry: CollectorRegistry) -> None:
    """Nothing was removed, so nothing is counted."""
    metrics.decided(FINE)
    metrics.ended(replace(RECORD, outcome=Outcome.DRY_RUN))
    assert value(registry, "buildfarm_prunes_total", trigger="disk") == 0


def test_a_due_prune_shows_with_its_verdict(
    metrics: PruneMetrics, registry: CollectorRegistry
) -> None:
    """One series while a threshold is passed; it goes with the verdict, and with the builder."""
    metrics.decided(DUE)
    assert value(registry, "buildfarm_prune_due", verdict="wait_builds") == 1
    metrics.decided(replace(DUE, verdict=Verdict.COOLDOWN))
    assert value(registry, "buildfarm_prune_due", verdict="wait_builds") is None
    assert value(registry, "buildfarm_prune_due", verdict="cooldown") == 1
    metrics.decided(FINE)
    assert value(registry, "buildfarm_prune_due", verdict="cooldown") is None
    metrics.decided(DUE)
    metrics.forgotten(DUE.key)
    assert value(registry, "buildfarm_prune_due", verdict="wait_builds") is None


def test_deferrals_and_removed_orphans(metrics: PruneMetrics, registry: CollectorRegistry) -> None:
    """Both are counted by node; a prune before this start only shows when it was."""
    metrics.deferred(DUE)
    metrics.orphan_removed("n1", "buildx_buildkit_farm0_state")
    metrics.known(RECORD)
    assert value(registry, "buildfarm_prunes_deferred_total") == 1
    removed = "buildfarm_orphaned_state_volumes_removed_total"
    assert registry.get_sample_value(removed, {"node": "n1"}) == 1
    assert value(registry, "buildfarm_prune_last_timestamp_seconds") == 1012
    assert value(registry, "buildfarm_prunes_total", trigger="disk") is None


def test_a_builder_that_is_gone_has_no_series(
    metrics: PruneMetrics, registry: CollectorRegistry
) -> None:
    """Else an alert that its last prune failed would never end; one that comes back begins anew."""
    metrics.decided(FINE)
    metrics.ended(replace(RECORD, outcome=Outcome.FAILED))
    metrics.forgotten(RECORD.key)
    assert not [sample for metric in registry.collect() for sample in metric.samples]
    metrics.decided(FINE)
    assert value(registry, "buildfarm_prunes_failed_total") == 0
