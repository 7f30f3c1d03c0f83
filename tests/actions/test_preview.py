"""What would go, compared with BuildKit's rules said a second time, the slow and plain way."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.actions.preview import would_go
from exporter.buildkit import control_pb2 as pb

KINDS = ("regular", "source.local", "exec.cachemount", "internal", "frontend")


def usage(
    id_: str,
    size: int = 10,
    used: float | None = None,
    count: int = 0,
    parents: Sequence[str] = (),
    kind: str = "regular",
    in_use: bool = False,
    shared: bool = False,
) -> pb.UsageRecord:
    one = pb.UsageRecord(
        ID=id_,
        Size=size,
        UsageCount=count,
        Parents=parents,
        RecordType=kind,
        InUse=in_use,
        Shared=shared,
    )
    if used is not None:
        one.LastUsedAt.FromNanoseconds(round(used * 1e9))
    return one


def went(*records: pb.UsageRecord, keep: int = 1, everything: bool = False) -> list[str]:
    return [record.ID for record in would_go(records, keep, all=everything)]


def test_least_recently_used_goes_first() -> None:
    assert went(usage("b", used=2), usage("c", used=3), usage("a", used=1)) == ["a", "b", "c"]


def test_never_used_goes_before_all() -> None:
    assert went(usage("a", used=1), usage("b")) == ["b", "a"]


def test_often_used_outweighs_lately_used() -> None:
    """Both ranks count alike: the oldest of these four has been used most often."""
    records = [usage(n, used=at, count=c) for n, at, c in [("old", 1, 9), ("new", 2, 1)]]
    records.append(usage("newer", used=3, count=1))
    assert went(*records)[0] == "new"


def test_child_goes_before_its_parent() -> None:
    child = usage("child", used=9, parents=["parent"])
    assert went(usage("parent", used=1), child, usage("x", used=5)) == ["x", "child", "parent"]


def test_what_is_in_use_stays_with_all_below() -> None:
    held = usage("child", parents=["parent"], in_use=True)
    assert went(usage("parent", in_use=True), held, usage("x")) == ["x"]


def test_parent_of_what_stays_stays() -> None:
    """An internal record keeps the layer that it lies on."""
    records = [usage("layer"), usage("i", parents=["layer"], kind="internal")]
    assert went(*records) == []
    assert went(*records, everything=True) == ["i", "layer"]


@pytest.mark.parametrize(
    "kept", [usage("x", kind="internal"), usage("x", kind="frontend"), usage("x", shared=True)]
)
def test_needs_all(kept: pb.UsageRecord) -> None:
    assert went(kept, keep=0) == []
    assert went(kept, keep=0, everything=True) == ["x"]


@pytest.mark.parametrize(
    ("keep", "number"), [(31, 0), (30, 1), (29, 1), (21, 1), (20, 2), (1, 3), (0, 3)]
)
def test_ends_below_what_to_keep(keep: int, number: int) -> None:
    """BuildKit goes on as long as the total is not less than what to keep."""
    records = [usage(str(n), size=10, used=n + 1) for n in range(3)]
    assert len(went(*records, keep=keep)) == number


def test_shared_records_do_not_count_as_kept() -> None:
    assert went(usage("s", size=100, shared=True), usage("x", used=1), keep=11) == []


def test_only_what_the_filters_let_through() -> None:
    records = [usage("a", used=1), usage("b", used=2), usage("c", used=3)]
    assert [r.ID for r in would_go(records, 1, all=False, matching={"a", "c"})] == ["a", "c"]


def test_size_that_is_not_known_counts_as_nothing() -> None:
    assert went(usage("a", size=-1, used=1), usage("b", size=10, used=2), keep=10) == ["a", "b"]


def test_parent_that_is_not_listed() -> None:
    assert went(usage("a", parents=["gone"])) == ["a"]


def test_very_many_records() -> None:
    """As many as a large node has: chains, dozens of numbers of uses, all times different."""
    rng = Random(1)
    records = [
        usage(
            f"{n:05}",
            size=rng.randrange(1, 1000),
            used=rng.uniform(1, 1e9),
            count=rng.randrange(60),
            parents=[f"{n - 1:05}"] if n % 4 else [],
        )
        for n in range(20_000)
    ]
    assert len(would_go(records, 0, all=False)) == 20_000


# ------------------------------------------------------------------ BuildKit's rules anew


@st.composite
def caches(draw: st.DrawFn) -> list[pb.UsageRecord]:
    """A cache as DiskUsage lists it: what is below something in use is in use as well."""
    records: list[pb.UsageRecord] = []
    for number in range(draw(st.integers(0, 14))):
        parents = draw(st.lists(st.integers(0, number - 1), max_size=2)) if number else []
        records.append(
            usage(
                str(number),
                size=draw(st.integers(0, 50)),
                used=draw(st.none() | st.integers(1, 6)),
                count=draw(st.integers(0, 4)),
                parents=[str(parent) for parent in parents],
                kind=draw(st.sampled_from(KINDS)),
                in_use=draw(st.integers(0, 9)) == 0,
                shared=draw(st.integers(0, 6)) == 0,
            )
        )
    for record in reversed(records):
        for parent in record.Parents:
            records[int(parent)].InUse |= record.InUse
            records[int(parent)].Shared |= record.Shared
    return draw(st.permutations(records))


def sort_values(candidates: list[pb.UsageRecord]) -> list[float]:
    """What BuildKit's sortDeleteRecords gives each candidate; the least goes."""
    by_use: dict[str, int] = {}
    rank, last = 1, 0
    for record in sorted(candidates, key=lambda r: r.LastUsedAt.seconds):
        if record.LastUsedAt.seconds > last:
            rank, last = rank + 1, record.LastUsedAt.seconds
        by_use[record.ID] = rank
    by_count: dict[str, int] = {}
    number, count = 1, 0
    for record in sorted(candidates, key=lambda r: r.UsageCount):
        if record.UsageCount != count:
            number, count = number + 1, record.UsageCount
        by_count[record.ID] = number
    return [by_use[r.ID] / rank + by_count[r.ID] / number for r in candidates]


@given(caches(), st.integers(0, 400), st.booleans())
def test_every_step_is_one_that_buildkit_takes(
    cache: list[pb.UsageRecord], keep: int, everything: bool
) -> None:
    """Among equals BuildKit's order is not fixed, so each step is checked, not the whole list."""
    going = would_go(cache, keep, all=everything)
    left = list(cache)
    total = sum(record.Size for record in left if not record.Shared)
    for record in [*going, None]:
        candidates = [
            one
            for one in left
            if not one.InUse
            and not any(one.ID in other.Parents for other in left)
            and (everything or not (one.Shared or one.RecordType in ("internal", "frontend")))
        ]
        done = not candidates or (keep != 0 and total < keep)
        assert done is (record is None)
        if record is not None:
            values = sort_values(candidates)
            assert values[candidates.index(record)] == min(values)
            left.remove(record)
            total -= record.Size
