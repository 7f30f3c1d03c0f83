"""The samples that alerts are decided by: those that Prometheus gets, and made only once."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.exposition import series
from exporter.exposition.samples import parts
from exporter.exposition.series import SeriesView
from exporter.model import Disk, Learned, NodeSpec, Snapshot, UnixEndpoint, Workers
from tests.exposition.known import DOCKER, ENGINE, FARM0, NOW, known, learned
from tests.exposition.parsing import page
from tests.exposition.parsing import series as served

FREE, SIZE = "buildfarm_disk_available_bytes", "buildfarm_disk_size_bytes"
PLATFORM = "buildfarm_builder_platform"
DISK = {"node": "a", "path": "/var/lib/docker"}


def view(*names: str, registry: CollectorRegistry | None = None) -> SeriesView:
    return SeriesView(registry or CollectorRegistry(), names)


def test_only_what_is_asked_for() -> None:
    made = view(FREE)
    made.update(known("a"))
    assert made() == {FREE: [(DISK, 400)]}


def test_all_nodes_and_all_parts() -> None:
    made = view(FREE, SIZE)
    for name in ("a", "b"):
        made.update(known(name))
    nodes = {metric: [labels["node"] for labels, _ in rows] for metric, rows in made().items()}
    assert nodes == {FREE: ["a", "b"], SIZE: ["a", "b"]}


def test_a_node_of_which_nothing_is_known() -> None:
    made = view(FREE)
    made.update(Snapshot(NodeSpec("a", UnixEndpoint("/s"))))
    assert made() == {}


def test_a_new_value_takes_the_place_of_the_old_one() -> None:
    made = view(FREE)
    made.update(known("a"))
    emptier = Disk("/var/lib/docker", 1000, 7, 100, 40)
    made.update(replace(known("a"), disk=learned(emptier)))
    assert made() == {FREE: [(DISK, 7)]}


def test_what_a_part_does_not_say_any_more_vanishes() -> None:
    """A builder that is gone; a disk that does not fill any more."""
    full = "buildfarm_disk_full_timestamp_seconds"
    made = view(PLATFORM, full)
    before = replace(known("a"), workers=learned(Workers(ENGINE, (FARM0, DOCKER))))
    made.update(before)
    assert made()[full] == [(DISK, NOW + 3600)]
    assert {labels["builder"] for labels, _ in made()[PLATFORM]} == {"farm0", "docker"}
    steady = Disk("/var/lib/docker", 1000, 400, 100, 40)
    workers = learned(Workers(ENGINE, (DOCKER,)))
    made.update(replace(before, workers=workers, disk=learned(steady)))
    assert full not in made()
    assert {labels["builder"] for labels, _ in made()[PLATFORM]} == {"docker"}


def test_parts_are_made_anew_only_when_they_changed() -> None:
    """Of two parts that have what is asked for, the one that is the same object is not read."""
    read: list[str] = []

    def watched(snapshot: Snapshot) -> object:
        for key, source, found in parts(snapshot):
            yield key, source, _noted(read, key, found)

    made = view(FREE, PLATFORM)
    with patch.object(series, "parts", watched):
        first = known("a")
        made.update(first)
        assert {"disk", "workers"} <= set(read)
        read.clear()
        made.update(first)
        assert read == []
        assert first.disk is not None
        made.update(replace(first, disk=Learned(first.disk.value, NOW + 1)))
    assert read == ["disk"]


def _noted(read: list[str], key: str, found: object) -> object:
    read.append(key)
    yield from found  # type: ignore[misc]


def test_what_the_registry_keeps() -> None:
    """Gauges and counters by their samples' names; of a metric that is not asked for nothing."""
    registry = CollectorRegistry()
    Gauge("asked", "", ["node"], registry=registry).labels("a").set(3)
    Gauge("other", "", registry=registry).set(4)
    Counter("done", "", registry=registry).inc(5)
    Histogram("took", "", registry=registry).observe(1)
    made = view("asked", "done_total", registry=registry)
    assert made() == {"asked": [({"node": "a"}, 3.0)], "done_total": [({}, 5.0)]}


@pytest.mark.parametrize("metric", [FREE, PLATFORM, "buildfarm_node_layer_up"])
def test_the_same_numbers_are_served(metric: str) -> None:
    nodes = [known("a"), known("b")]
    made = view(metric)
    for node in nodes:
        made.update(node)
    assert {
        (metric, frozenset(labels.items())): float(value) for labels, value in made()[metric]
    } == {key: value for key, value in served(page(*nodes)).items() if key[0] == metric}
