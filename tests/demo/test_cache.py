"""What BuildKit's prune takes and what it leaves."""

from __future__ import annotations

from random import Random

import pytest

from exporter.demo.cache import CacheStore, PruneLimits, Record

NOW = 1_800_000_000.0
HOUR = 3600.0


class Cache(CacheStore):
    """A cache whose records are named by the tests."""

    def __init__(self) -> None:
        super().__init__(Random(0))
        self.names: dict[str, str] = {}

    def put(self, name: str, size: int, hours_ago: float = 1.0, **more: object) -> Record:
        used = NOW - hours_ago * HOUR
        record = self.add(size=size, now=used, used=used, **more)  # type: ignore[arg-type]
        self.names[record.id] = name
        return record

    def pruned(self, disk_free: int = 0, **limits: object) -> list[str]:
        """Prune, and name what went, in order."""
        wish = PruneLimits(**limits)  # type: ignore[arg-type]
        return [self.names[r.id] for batch in self.prune(wish, disk_free, NOW) for r in batch]


@pytest.fixture
def cache() -> Cache:
    """Four unrelated records of 100 bytes, of different age."""
    cache = Cache()
    for name, hours in (("middle", 5), ("old", 9), ("new", 1), ("oldest", 12)):
        cache.put(name, 100, hours)
    return cache


def test_a_size_to_keep_takes_the_least_recently_used_first(cache: Cache) -> None:
    assert cache.pruned(reserved=250) == ["oldest", "old"]


def test_it_goes_on_until_less_than_the_size_is_left(cache: Cache) -> None:
    assert cache.pruned(reserved=200) == ["oldest", "old", "middle"]
    assert cache.size == 100


def test_a_cache_below_the_size_loses_nothing(cache: Cache) -> None:
    assert cache.pruned(reserved=401) == []


def test_no_limit_at_all_empties_the_cache(cache: Cache) -> None:
    assert set(cache.pruned()) == {"old", "new", "middle", "oldest"}
    assert (cache.size, cache.inodes, cache.records) == (0, 0, {})


def test_often_used_records_outlive_rarely_used_ones_of_like_age() -> None:
    cache = Cache()
    cache.put("often", 100, 6, count=50)
    cache.put("rarely", 100, 5, count=1)
    cache.put("new", 100, 1, count=7)
    assert cache.pruned(reserved=250) == ["rarely"]


def test_records_in_use_and_all_below_them_stay() -> None:
    cache = Cache()
    base = cache.put("base", 100)
    top = cache.put("top", 100, parents=[base.id])
    cache.put("free", 100)
    cache.hold([top], NOW)
    assert cache.in_use() == {base.id, top.id}
    assert cache.pruned(all=True) == ["free"]
    cache.release([top], NOW)
    assert cache.pruned(all=True) == ["top", "base"]


@pytest.mark.parametrize("kind", ["internal", "frontend"])
def test_internal_and_frontend_records_go_only_with_all(kind: str) -> None:
    cache = Cache()
    cache.put("record", 100, kind=kind)
    assert cache.pruned() == []
    assert cache.pruned(all=True) == ["record"]


def test_records_shared_with_an_image_go_only_with_all_and_do_not_count() -> None:
    cache = Cache()
    cache.put("shared", 1000, 9, shared=True)
    cache.put("own", 100, 1)
    assert cache.pruned(reserved=150) == []
    assert cache.pruned() == ["own"]
    assert cache.pruned(all=True) == ["shared"]


def test_filters_choose_what_may_go(cache: Cache) -> None:
    cache.put("mount", 100, 20, kind="exec.cachemount")
    taken = cache.pruned(filters=("type!=exec.cachemount",))
    assert sorted(taken) == ["middle", "new", "old", "oldest"]


def test_what_was_used_lately_is_kept_for_its_time(cache: Cache) -> None:
    assert sorted(cache.pruned(keep_duration=7 * HOUR)) == ["old", "oldest"]


@pytest.mark.parametrize(
    ("disk_free", "limits", "left"),
    [
        (0, {"max_used": 250}, 200),
        # BuildKit prunes down to less than the size it keeps, which here is all there is.
        (1000, {"min_free": 500}, 300),
        (350, {"min_free": 500}, 200),
        (350, {"min_free": 500, "max_used": 150}, 100),
        (350, {"min_free": 500, "reserved": 350}, 300),
    ],
)
def test_the_newer_limits(cache: Cache, disk_free: int, limits: dict[str, int], left: int) -> None:
    cache.pruned(disk_free, **limits)
    assert cache.size == left


def test_a_mount_being_written_to_has_no_size_yet() -> None:
    cache = Cache()
    mount = cache.put("mount", 100, kind="exec.cachemount")
    cache.hold([mount], NOW)
    assert (mount.visible_size, cache.size) == (0, 100)
