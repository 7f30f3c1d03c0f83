"""What is remembered of the nodes that were named."""

from __future__ import annotations

from exporter.model import Snapshot
from exporter.routing import Handouts, rank
from exporter.routing.handouts import pending
from tests.routing.farms import AMD64, NOW, busier, node


def spread(farm: list[Snapshot], builds: int, handouts: Handouts, now: float = NOW) -> list[str]:
    """Name a node for each of so many builds at once."""
    named = []
    for _ in range(builds):
        best = rank(farm, AMD64, now, handed=handouts).candidates[0].node
        handouts.add(next(s for s in farm if s.node.name == best), now)
        named.append(best)
    return named


def test_builds_at_once_spread_over_equals() -> None:
    assert spread([node("a"), node("b")], 8, Handouts()) == ["a", "b"] * 4


def test_builds_at_once_fill_up_what_is_least_busy() -> None:
    farm = [node("a", building=3), node("b"), node("c", building=None)]
    assert spread(farm, 6, Handouts()) == ["b", "c", "b", "c", "b", "c"]


def test_a_build_that_shows_up_is_not_counted_twice() -> None:
    handouts = Handouts()
    quiet = node("a", built=10)
    for _ in range(3):
        handouts.add(quiet, NOW)
    for running, ended, left in ((0, 10, 3), (1, 10, 2), (2, 11, 0), (0, 13, 0)):
        assert pending(busier(quiet, running=running, total=ended), list(handouts), NOW) == left


def test_each_build_that_shows_up_is_one_of_those_named_before_it() -> None:
    """Also when an earlier one's minute is over."""
    handouts = Handouts()
    quiet = node("a", built=10, age=-100)
    handouts.add(quiet, NOW)
    handouts.add(quiet, NOW + 30)
    one = busier(quiet, running=1, total=10)
    handouts.add(one, NOW + 50)
    assert pending(one, list(handouts), NOW + 50) == 2
    assert pending(one, list(handouts), NOW + 70) == 2
    assert pending(busier(quiet, running=2, total=10), list(handouts), NOW + 70) == 1


def test_a_build_that_never_shows_up_is_forgotten() -> None:
    handouts = Handouts()
    handouts.add(node("a"), NOW)
    assert pending(node("a"), list(handouts), NOW + 59) == 1
    assert pending(node("a"), list(handouts), NOW + 60) == 0
    farm = [node("a", age=-3600), node("b", age=-3600)]
    assert spread(farm, 2, handouts, NOW + 3600) == ["b", "a"]


def test_a_clock_that_is_put_back_blocks_nothing() -> None:
    handouts = Handouts()
    handouts.add(node("a"), NOW + 86400)
    assert pending(node("a"), list(handouts), NOW) == 0


def test_a_node_that_counts_no_builds_is_relieved_by_time_alone() -> None:
    handouts = Handouts()
    silent = node("a", building=None)
    handouts.add(silent, NOW)
    assert pending(silent, list(handouts), NOW + 59) == 1
    # Nor does what was named before the count was known wait for it.
    assert pending(node("a", built=99, age=-100), list(handouts), NOW + 59) == 1
    assert pending(silent, list(handouts), NOW + 60) == 0


def test_memory_is_bounded() -> None:
    handouts = Handouts()
    for number in range(5000):
        handouts.add(node("a"), NOW + number)
    remembered = list(handouts)
    assert len(remembered) == 1000
    assert remembered[-1].at == NOW + 4999
