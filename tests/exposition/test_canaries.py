"""The metrics of canary builds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from exporter.canaries import (
    CanaryOutcome,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
    Step,
    StepTime,
)
from exporter.exposition.canaries import CanaryMetrics, place
from tests.actions.canary_farm import canary

HERE = {"node": "n1", "builder": "farm0", "platform": "linux/amd64", "emulated": "false"}
RECORD = canary(1000.0)
PLACE = place(RECORD.key, emulated=False)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> CanaryMetrics:
    return CanaryMetrics(registry, {"n1"})


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"buildfarm_canary_{name}", {**HERE, **labels})


def series(registry: CollectorRegistry, **labels: str) -> set[str]:
    """Names of the samples with these labels."""
    return {
        sample.name
        for metric in registry.collect()
        for sample in metric.samples
        if labels.items() <= sample.labels.items()
    }


def test_counters_start_at_zero(metrics: CanaryMetrics, registry: CollectorRegistry) -> None:
    """The first canary must be seen as an increase."""
    metrics.planned("n1", {PLACE})
    for name in ("runs_total", "runs_failed_total", "skipped_total"):
        assert value(registry, name) == 0
    assert value(registry, "success") is None


def test_a_canary_is_counted_and_shown(metrics: CanaryMetrics, registry: CollectorRegistry) -> None:
    metrics.ended(RECORD)
    assert value(registry, "success") == 1
    assert value(registry, "duration_seconds") == 10
    assert value(registry, "last_run_timestamp_seconds") == 1010
    assert value(registry, "runs_total") == 1
    assert value(registry, "runs_failed_total") == 0
    assert value(registry, "step_duration_seconds", step="disk") == 4
    assert value(registry, "throughput_bytes_per_second", step="cpu") == 128


def test_a_step_that_was_cached_has_no_series(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    """Nor has one that was not got to, or has no bytes; what there was before goes."""
    metrics.ended(replace(RECORD, steps={Step.PULL: StepTime(3.0, None)}))
    assert value(registry, "step_duration_seconds", step="pull") == 3
    assert value(registry, "throughput_bytes_per_second", step="pull") is None
    metrics.ended(RECORD)
    assert value(registry, "step_duration_seconds", step="pull") is None
    failed = replace(RECORD, outcome=CanaryOutcome.FAILED, steps={})
    metrics.ended(failed)
    assert value(registry, "step_duration_seconds", step="cpu") is None
    assert value(registry, "throughput_bytes_per_second", step="cpu") is None


@pytest.mark.parametrize("outcome", [CanaryOutcome.FAILED, CanaryOutcome.TIMEOUT])
def test_a_bad_end_is_counted_besides(
    metrics: CanaryMetrics, registry: CollectorRegistry, outcome: CanaryOutcome
) -> None:
    metrics.ended(replace(RECORD, outcome=outcome))
    assert value(registry, "success") == 0
    assert value(registry, "runs_total") == 1
    assert value(registry, "runs_failed_total") == 1


def test_a_missing_platform_is_a_failure_without_a_duration(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.ended(RECORD)
    missing = replace(RECORD, outcome=CanaryOutcome.MISSING, steps={})
    metrics.ended(missing)
    assert value(registry, "success") == 0
    assert value(registry, "runs_failed_total") == 1
    assert value(registry, "duration_seconds") is None


def test_a_skip_changes_nothing_but_its_counter(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.ended(replace(RECORD, emulated=True))
    before = {name: value(registry, name, emulated="true") for name in ("success", "runs_total")}
    skipped = canary(2000.0, outcome=CanaryOutcome.SKIPPED, steps={})
    metrics.ended(skipped)
    assert value(registry, "skipped_total", emulated="true") == 1
    assert {n: value(registry, n, emulated="true") for n in before} == before
    assert value(registry, "last_run_timestamp_seconds", emulated="true") == 1010
    assert not series(registry, emulated="false")


def test_a_platform_that_is_emulated_now_is_no_longer_native(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.ended(RECORD)
    metrics.ended(replace(RECORD, emulated=True))
    assert value(registry, "success", emulated="true") == 1
    assert not series(registry, emulated="false")


def test_a_builder_that_is_gone_has_no_series(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    """As soon as it is not planned for any more; other nodes keep theirs."""
    metrics._nodes = {"n1", "n2"}
    metrics.ended(RECORD)
    metrics.ended(replace(RECORD, builder="farm1"))
    metrics.ended(replace(RECORD, node="n2"))
    metrics.planned("n1", {PLACE})
    assert not series(registry, builder="farm1")
    assert value(registry, "success") == 1
    assert value(registry, "success", node="n2") == 1


@pytest.mark.parametrize(
    "other",
    [{"platform": "linux/arm64"}, {"builder": "farm1"}, {"outcome": CanaryOutcome.SKIPPED}],
)
def test_what_is_not_planned_has_no_series(
    metrics: CanaryMetrics, registry: CollectorRegistry, other: dict[str, str]
) -> None:
    """As a canary by hand: nothing would ever end what is shown of it."""
    metrics.planned("n1", {PLACE})
    foreign = replace(RECORD, **({"platform": "linux/386"} | other))  # type: ignore[arg-type]
    metrics.known(foreign)
    metrics.ended(foreign)
    assert not series(registry, builder=foreign.builder, platform=foreign.platform)
    metrics.ended(replace(RECORD, emulated=True))
    assert value(registry, "success", emulated="true") == 1


def test_what_is_planned_later_is_shown_from_then(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.planned("n1", ())
    metrics.ended(RECORD)
    assert not series(registry, node="n1")
    metrics.planned("n1", {PLACE})
    metrics.ended(RECORD)
    assert value(registry, "runs_total") == 1


def test_a_node_without_canaries_has_no_series(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.known(replace(RECORD, node="gone"))
    metrics.ended(replace(RECORD, node="gone"))
    metrics.ended(replace(RECORD, node="gone", outcome=CanaryOutcome.SKIPPED))
    assert not series(registry)


def test_a_canary_before_this_start_is_shown_and_not_counted(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    metrics.known(RECORD)
    assert value(registry, "success") == 1
    assert value(registry, "runs_total") == 0


RUN = MultiarchRun(12.5, {"linux/amd64": "farm0"}, 6, 4)
WHOLE = MultiarchRecord(
    "w",
    "farm",
    CanaryTrigger.SCHEDULE,
    CanaryOutcome.OK,
    1000.0,
    1030.0,
    first=RUN,
    second=RUN,
    pushed=("linux/amd64", "linux/arm64"),
)


def whole(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value(f"buildfarm_multiarch_canary_{name}", {"builder": "farm"})


def test_the_one_over_the_whole_farm(metrics: CanaryMetrics, registry: CollectorRegistry) -> None:
    metrics.multiarch.planned("farm")
    assert (whole(registry, "runs_total"), whole(registry, "runs_failed_total")) == (0, 0)
    metrics.multiarch.ended(WHOLE)
    names = ("success", "duration_seconds", "cached_steps", "steps", "platforms", "runs_total")
    assert [whole(registry, name) for name in names] == [1, 30, 4, 6, 2, 1]
    assert whole(registry, "last_run_timestamp_seconds") == 1030
    failed = replace(WHOLE, outcome=CanaryOutcome.FAILED, second=None, pushed=())
    metrics.multiarch.ended(failed)
    assert [whole(registry, name) for name in names] == [0, 30, None, None, 0, 2]
    assert whole(registry, "runs_failed_total") == 1


def test_what_is_usual_is_the_median_of_the_successes_before(
    metrics: CanaryMetrics, registry: CollectorRegistry
) -> None:
    """Of three at least; the last one is measured by it, and is no part of it."""
    shown = []
    for seconds, outcome in (
        (10, CanaryOutcome.OK),
        (500, CanaryOutcome.FAILED),
        (12, CanaryOutcome.OK),
        (11, CanaryOutcome.OK),
        (90, CanaryOutcome.OK),
        (10, CanaryOutcome.OK),
    ):
        end = RECORD.started_at + seconds
        metrics.known(replace(RECORD, finished_at=end, outcome=outcome))
        shown.append(value(registry, "usual_duration_seconds"))
    assert shown == [None, None, None, None, 11, 11.5]
