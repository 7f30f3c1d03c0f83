"""Both text formats, as strict parsers see them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter

from exporter.exposition.families import FAMILIES, Kind
from exporter.exposition.own import OwnMetrics
from exporter.model import Disk, Snapshot
from tests.exposition.known import DISK, DOWN, known, learned
from tests.exposition.parsing import FORMATS, OPENMETRICS, TEXT, families, page, series

NODE_METRICS = {
    "buildfarm_node_up",
    "buildfarm_node_layer_up",
    "buildfarm_node_failure",
    "buildfarm_node_info",
    "buildfarm_node_connects_total",
    "buildfarm_node_round_trip_seconds",
    "buildfarm_collector_success",
    "buildfarm_collector_duration_seconds",
    "buildfarm_collector_last_success_timestamp_seconds",
    "buildfarm_collector_timeouts_total",
    "buildfarm_disk_size_bytes",
    "buildfarm_disk_available_bytes",
    "buildfarm_disk_inodes",
    "buildfarm_disk_inodes_free",
    "buildfarm_disk_full_timestamp_seconds",
    "buildfarm_builder_info",
    "buildfarm_builder_platform",
    "buildfarm_platform_missing",
    "buildfarm_builder_gc_keep_bytes",
    "buildfarm_cache_size_bytes",
    "buildfarm_cache_records",
    "buildfarm_cache_reclaimable_bytes",
    "buildfarm_cache_in_use_bytes",
    "buildfarm_cache_shared_bytes",
    "buildfarm_cache_idle_bytes",
    "buildfarm_orphaned_state_volumes",
    "buildfarm_orphaned_state_volumes_bytes",
    "buildfarm_builds_running",
    "buildfarm_builds_total",
    "buildfarm_builds_failed_total",
    "buildfarm_build_duration_seconds_bucket",
    "buildfarm_build_duration_seconds_sum",
    "buildfarm_build_duration_seconds_count",
    "buildfarm_build_steps_total",
    "buildfarm_build_steps_cached_total",
    "buildfarm_tls_certificate_not_after_timestamp_seconds",
}
OWN_METRICS = {
    "buildfarm_exporter_build_info",
    "buildfarm_config_last_reload_successful",
    "buildfarm_config_last_reload_success_timestamp_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
}


def only_disk(disk: Disk, node: str = "n") -> Snapshot:
    """A node of which nothing but its disk is known."""
    return Snapshot(replace(known().node, name=node), disk=learned(disk))


@pytest.mark.parametrize("accept", FORMATS)
def test_every_promised_metric_is_served(accept: str) -> None:
    own = OwnMetrics("1.2.3")
    own.config_loaded(1.0)
    full = page(known("a"), known("b", DOWN), registry=own.registry)
    assert {name for name, _ in series(full, accept)} >= NODE_METRICS | OWN_METRICS


def test_both_formats_say_the_same() -> None:
    registry = CollectorRegistry()
    Counter("other", "Something else.", registry=registry)
    full = page(known("a"), known("b", DOWN), registry=registry)
    text, openmetrics = series(full, TEXT), series(full, OPENMETRICS)
    assert openmetrics == text
    # Not when it was made, which nobody asked for.
    assert [name for name, _ in text if name.startswith("other")] == ["other_total"]


@pytest.mark.parametrize("accept", FORMATS)
def test_types_and_helps(accept: str) -> None:
    found = families(page(known("a"), known("b", DOWN)), accept)
    for family in FAMILIES:
        metric = found[family.name.removesuffix("_total")]
        assert (metric.type, metric.documentation) == (family.kind, family.help)


def test_counters_and_only_they_end_with_total() -> None:
    for family in FAMILIES:
        assert family.name.endswith("_total") is (family.kind is Kind.COUNTER)


def test_no_label_is_called_type() -> None:
    labels = {name for _, labels in series(page(known())) for name, _ in labels}
    assert "type" not in labels


def test_an_empty_farm_is_a_valid_page() -> None:
    assert series(page()) == {}
    assert page().render(OPENMETRICS)[1] == b"# EOF\n"


@pytest.mark.parametrize("accept", FORMATS)
@example(name='a"b', path='",x="y\\')
@given(name=st.text(), path=st.text())
def test_any_text_survives_as_a_label(accept: str, name: str, path: str) -> None:
    snapshot = only_disk(replace(DISK, path=path), name)
    key = ("buildfarm_disk_size_bytes", frozenset({("node", name), ("path", path)}))
    assert series(page(snapshot), accept)[key] == DISK.size


@pytest.mark.parametrize("accept", FORMATS)
@given(
    size=st.integers(0, 2**63),
    full_at=st.floats(0, 1e300, allow_nan=False, allow_infinity=False),
)
def test_numbers_are_exact(accept: str, size: int, full_at: float) -> None:
    disk = Disk("/", size, 0, 0, 0, full_at=full_at)
    found = series(page(only_disk(disk)), accept)
    labels = frozenset({("node", "n"), ("path", "/")})
    assert found["buildfarm_disk_size_bytes", labels] == size
    assert found["buildfarm_disk_full_timestamp_seconds", labels] == full_at


def test_what_is_no_unicode_does_not_cost_the_page() -> None:
    key = ("buildfarm_disk_size_bytes", frozenset({("node", "n"), ("path", "/?")}))
    assert key in series(page(only_disk(replace(DISK, path="/\ud800"))))
