"""The metrics of users' builds."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import pytest

from exporter.builds import BUCKETS, Build, BuildCounts, Builds
from exporter.exposition.page import Page
from exporter.model import Snapshot
from tests.exposition.known import known, learned
from tests.exposition.parsing import FORMATS, TEXT, page, series

DURATIONS = (0.5, 1.0, 1.1, 59.0, 100_000.0)
COUNTS = reduce(
    BuildCounts.plus,
    [Build(str(took), took, failed=took < 1, steps=10, cached=4) for took in DURATIONS],
    BuildCounts(),
)
TOLD = Builds("farm0", told=True, running=2, counts=COUNTS)
UNTOLD = Builds("docker", told=False)


def only(*builds: Builds) -> Snapshot:
    return Snapshot(known().node, builds=learned(builds))


def of_builder(made: Page, accept: str = TEXT, builder: str = "farm0") -> dict[str, float]:
    """The samples of a builder, by what comes after ``buildfarm_`` and the histogram's bound."""
    found = {}
    for (name, labels), value in series(made, accept).items():
        named = dict(labels)
        if named.pop("builder", None) == builder:
            assert named.pop("node") == "amd64-1"
            bound = named.pop("le", "")
            assert not named
            found[name.removeprefix("buildfarm_") + bound] = value
    return found


@pytest.mark.parametrize("accept", FORMATS)
def test_all_that_is_counted(accept: str) -> None:
    bounds = [*map(str, BUCKETS), "+Inf"]
    below = [2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5]
    assert of_builder(page(only(TOLD)), accept) == {
        "builds_running": 2,
        "builds_total": 5,
        "builds_failed_total": 1,
        "build_steps_total": 50,
        "build_steps_cached_total": 20,
        "build_duration_seconds_sum": 100_061.6,
        "build_duration_seconds_count": 5,
        **{
            f"build_duration_seconds_bucket{bound}": number
            for bound, number in zip(bounds, below, strict=True)
        },
    }


def test_counters_start_at_zero() -> None:
    """The first build must be seen as an increase."""
    found = of_builder(page(only(Builds("farm0", told=True))))
    assert len(found) == 20
    assert set(found.values()) == {0}


def test_where_nothing_is_told_there_is_nothing() -> None:
    """No zero either, which would be a lie."""
    made = page(only(UNTOLD, TOLD))
    assert of_builder(made, builder="docker") == {}
    assert of_builder(made) == of_builder(page(only(TOLD)))


def test_series_vanish_with_their_builder() -> None:
    made = page(only(TOLD, replace(TOLD, builder="farm1")))
    assert of_builder(made, builder="farm1")
    made.update(only(TOLD))
    assert of_builder(made, builder="farm1") == {}


def test_a_builder_s_histogram_is_in_one_piece() -> None:
    body = page(only(TOLD, replace(TOLD, builder="farm1"))).render(TEXT)[1].decode()
    lines = [line for line in body.splitlines() if line.startswith("buildfarm_build_duration")]
    builders = [line.partition('builder="')[2].partition('"')[0] for line in lines]
    assert builders == ["farm0"] * 15 + ["farm1"] * 15
