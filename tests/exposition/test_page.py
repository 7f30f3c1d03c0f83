"""The page over time: what changes, what vanishes, what is not made anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from exporter.builds import Builds
from exporter.exposition import page as page_module
from exporter.exposition.page import Page
from exporter.exposition.samples import Sample
from exporter.model import CollectorState, Snapshot, Workers
from tests.exposition.known import DISK, DOCKER, DOWN, ENGINE, cache, known, learned
from tests.exposition.parsing import OPENMETRICS, page, series, values


def change(page: Page, **changes: object) -> None:
    page.update(replace(known(), **changes))  # type: ignore[arg-type]


def test_nodes_are_side_by_side_in_their_order() -> None:
    up = values(page(known("b"), known("a", DOWN)), "buildfarm_node_up", "node")
    assert list(up.items()) == [("b", 1), ("a", 0)]


def test_a_change_shows() -> None:
    made = page(known())
    change(made, disk=learned(replace(DISK, available=1)))
    assert values(made, "buildfarm_disk_available_bytes", "node") == {"amd64-1": 1}


def test_series_of_a_builder_that_is_gone_vanish() -> None:
    made = page(known())
    assert set(values(made, "buildfarm_cache_reclaimable_bytes", "builder")) == {"docker", "farm0"}
    change(
        made,
        workers=learned(Workers(ENGINE, (DOCKER,))),
        cache=learned((cache("docker"),)),
        builds=learned((Builds("docker", told=True),)),
    )
    left = {dict(labels).get("builder") for _, labels in series(made)}
    assert left == {None, "docker"}


def test_a_metric_without_series_has_no_head() -> None:
    made = page(known())
    change(made, workers=learned(Workers(ENGINE, (DOCKER,))))
    assert b"buildfarm_builder_gc_keep_bytes" not in made.render("")[1]


def test_a_failure_that_is_over_vanishes() -> None:
    made = page(known(reachability=DOWN))
    assert values(made, "buildfarm_node_failure", "reason") == {"permission": 1}
    made.update(known())
    assert values(made, "buildfarm_node_failure", "reason") == {}


def test_each_collector_is_a_part_of_its_own() -> None:
    made = page(known())
    state = known().collectors["disk"]
    change(made, collectors={"disk": state, "cache": CollectorState(False, 1.0, None, 0)})
    assert values(made, "buildfarm_collector_success", "collector") == {"disk": 1, "cache": 0}


def test_only_what_changed_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = known()
    made = page(before)
    written: list[str] = []
    write = page_module._write

    def spy(node: str, samples: Iterable[Sample]) -> dict[str, bytes]:
        result = write(node, samples)
        written.extend(result)
        return result

    monkeypatch.setattr(page_module, "_write", spy)
    made.update(replace(before, disk=learned(DISK)))
    assert {name.removeprefix("buildfarm_") for name in written} == {
        "disk_size_bytes",
        "disk_available_bytes",
        "disk_inodes",
        "disk_inodes_free",
        "disk_full_timestamp_seconds",
    }
    written.clear()
    made.render("")
    made.render(OPENMETRICS)
    assert written == []


def test_a_node_of_which_nothing_is_known_has_its_place() -> None:
    assert series(page(Snapshot(known().node))) == {
        ("buildfarm_node_connects_total", frozenset({("node", "amd64-1")})): 0
    }
