"""What holds of every farm."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from exporter.canaries import CanaryOutcome, CanaryRecord
from exporter.model import Snapshot
from exporter.routing import Candidate, Handout, LeftOut, order, rank
from tests.routing.farms import AMD64, ARM64, DOWN, NOW, UP, canary, node, worker

NAMES = [f"n{number}" for number in range(6)]
PLATFORMS = st.sampled_from([AMD64, ARM64, "linux/s390x"])
SHARES = st.none() | st.floats(0, 1)


def farms() -> st.SearchStrategy[list[Snapshot]]:
    kinds = st.sampled_from(
        [worker(), worker(native=ARM64, emulated=AMD64), worker(emulated=""), worker(running=False)]
    )
    nodes = st.builds(
        node,
        st.sampled_from(NAMES),
        kinds,
        reachability=st.sampled_from([UP, UP, DOWN]),
        age=st.sampled_from([1.0, 30.0, 100.0]),
        building=st.none() | st.integers(0, 9),
        built=st.integers(0, 9),
        free=SHARES,
    )
    return st.lists(nodes, max_size=6, unique_by=lambda snapshot: snapshot.node.name)


CANARIES = st.lists(
    st.builds(
        canary,
        st.sampled_from(NAMES),
        st.floats(0.1, 1e6),
        st.sampled_from(CanaryOutcome),
        platform=PLATFORMS,
    )
)
HANDED = st.lists(
    st.builds(
        Handout,
        st.sampled_from([*NAMES, "gone"]),
        st.floats(NOW - 100, NOW),
        st.none() | st.integers(0, 30),
    ),
    max_size=20,
)


@given(farms(), PLATFORMS, CANARIES, HANDED, st.randoms())
def test_ranking(
    farm: list[Snapshot],
    platform: str,
    canaries: list[CanaryRecord],
    handed: list[Handout],
    rng: Random,
) -> None:
    latest = {record.key: record for record in canaries}
    ranking = rank(farm, platform, NOW, latest, handed)
    snapshots = {snapshot.node.name: snapshot for snapshot in farm}
    candidates = ranking.candidates
    # Every node has one place, and a reason.
    places: list[Candidate | LeftOut] = [*candidates, *ranking.left_out]
    assert sorted(place.node for place in places) == sorted(snapshots)
    assert all(place.why for place in places)
    # Never an emulated one before a native one.
    how = [candidate.emulated for candidate in candidates]
    assert how == sorted(how)
    # Never a node that is down, not looked at lately, or full.
    for candidate in candidates:
        reach, disk = snapshots[candidate.node].reachability, snapshots[candidate.node].disk
        assert reach is not None
        assert reach.value.up
        assert NOW - reach.at <= 40
        assert disk is None or disk.value.available >= 50
    # Of nodes that are alike otherwise, the less busy one is first.
    for better, worse in pairwise(candidates):
        a, b = better.merit, worse.merit
        assert (a.emulated, a.low, a.failed, a.load) <= (b.emulated, b.low, b.failed, b.load)
    # The same farm gives the same answer, in whatever order it is known.
    shuffled, later = list(farm), list(handed)
    rng.shuffle(shuffled)
    rng.shuffle(later)
    assert rank(shuffled, platform, NOW, latest, later) == ranking
    # Chance changes nothing but the order of equals.
    drawn = ranking.drawn(rng)
    assert sorted(drawn.candidates, key=lambda c: c.merit) == list(candidates)
    assert [c.merit.plain for c in drawn.candidates] == [c.merit.plain for c in candidates]
    # There is always something to say.
    assert ranking.why
    assert drawn.why


@given(farms(), st.lists(PLATFORMS, max_size=3, unique=True), CANARIES)
def test_order(farm: list[Snapshot], platforms: list[str], canaries: list[CanaryRecord]) -> None:
    """Every node has one place; for one platform it is the ranking's."""
    latest = {record.key: record for record in canaries}
    found = [place.node for place in order(farm, platforms, NOW, latest)]
    assert sorted(found) == (sorted(s.node.name for s in farm) if platforms else [])
    for platform in platforms:
        ranking = rank(farm, platform, NOW, latest)
        ranked = [c.node for c in ranking.candidates] + [out.node for out in ranking.left_out]
        assert [place.node for place in order(farm, [platform], NOW, latest)] == ranked
