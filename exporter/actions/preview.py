"""What a prune would remove, by the rules of BuildKit's own (``cache/manager.go``).

Records in use stay; without ``all`` also internal ones, frontends, and what an image shares. The
rest goes one by one, leaves before what they were made from, in the order of two ranks added up:
how long ago a record was last used, and how often it was. It ends as soon as what is left is less
than what to keep.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterable
from heapq import heappop, heappush

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.records import own, size_of

INTERNAL_TYPES = frozenset({"internal", "frontend"})
"""Types of records that go only with ``all``, as do shared ones of any type."""


def would_go(
    records: Iterable[pb.UsageRecord],
    keep: int,
    *,
    all: bool,  # noqa: A002 - BuildKit's and the command line's own word
    matching: Collection[str] | None = None,
) -> list[pb.UsageRecord]:
    """List what a prune down to ``keep`` bytes would remove, in its order.

    ``keep`` 0 stands for everything that may go. ``matching``: the IDs that the prune's filters
    let through, as ``DiskUsage`` with the same filters lists them; ``None``: no filters.
    """
    left = {record.ID: record for record in records}
    children = dict.fromkeys(left, 0)
    for record in left.values():
        for parent in set(record.Parents) & left.keys():
            children[parent] += 1
    counted = own(left.values())
    free = {r.ID for r in left.values() if _may(r, all) and (matching is None or r.ID in matching)}
    leaves = _Leaves()
    for id_ in free:
        if children[id_] == 0:
            leaves.add(left[id_])
    gone: list[pb.UsageRecord] = []
    while leaves and not (keep and counted < keep):
        record = left.pop(leaves.take())
        gone.append(record)
        # Shared or not: BuildKit subtracts also what it did not count before.
        counted -= size_of(record)
        for parent in set(record.Parents) & left.keys():
            children[parent] -= 1
            if children[parent] == 0 and parent in free:
                leaves.add(left[parent])
    return gone


class _Leaves:
    """The records that may go next. BuildKit ranks them anew after each one that went.

    Of those that were used equally often the one not used for longest goes first, so only these
    firsts are compared.
    """

    def __init__(self) -> None:
        self._by_count: dict[int, list[tuple[int, str]]] = {}
        self._counts: list[int] = []
        self._times: list[int] = []
        self._at_time: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, record: pb.UsageRecord) -> None:
        """Add a record that nothing lies on any more."""
        count, time = record.UsageCount, _last_used(record)
        if count not in self._by_count:
            self._by_count[count] = []
            insort(self._counts, count)
        heappush(self._by_count[count], (time, record.ID))
        self._at_time[time] += 1
        if self._at_time[time] == 1:
            insort(self._times, time)

    def take(self) -> str:
        """Remove the one that goes next; its ID."""
        best: tuple[float, str, int] | None = None
        oldest: int | None = None
        for count in self._counts:
            time, id_ = self._by_count[count][0]
            if oldest is None or time < oldest:
                oldest = time
                found = (self._rank(time, count), id_, count)
                best = found if best is None else min(best, found)
        assert best is not None
        return self._remove(best[2])

    def _remove(self, count: int) -> str:
        heap = self._by_count[count]
        time, id_ = heappop(heap)
        if not heap:
            del self._by_count[count]
            del self._counts[bisect_left(self._counts, count)]
        self._at_time[time] -= 1
        if not self._at_time[time]:
            del self._times[bisect_left(self._times, time)]
        return id_

    def _rank(self, time: int, count: int) -> float:
        return _part(self._times, time) + _part(self._counts, count)


def _part(values: list[int], value: int) -> float:
    """The rank of a value among sorted ones, as a part of the highest rank.

    Rank 1 is that of 0, which stands for never, whether or not it is there.
    """
    never = 1 - (values[0] == 0)
    return (bisect_left(values, value) + 1 + never) / (len(values) + never)


def _may(record: pb.UsageRecord, all: bool) -> bool:  # noqa: A002
    if record.InUse:
        return False
    return all or not (record.Shared or record.RecordType in INTERNAL_TYPES)


def _last_used(record: pb.UsageRecord) -> int:
    """Nanoseconds since the epoch; 0: never."""
    return record.LastUsedAt.seconds * 1_000_000_000 + record.LastUsedAt.nanos
