"""A builder's cache: its records, and what BuildKit's prune does to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from exporter.demo.filters import Fields, parse_filters

# BuildKit removes so many records at a time where no size is to be kept.
_BATCH = 10

_NEVER_WITHOUT_ALL = ("internal", "frontend")


@dataclass(slots=True)
class Record:
    """One record. Sizes in bytes, points in time in seconds since the epoch."""

    id: str
    kind: str
    """``regular``, ``source.local``, ``exec.cachemount``, ``internal`` or ``frontend``."""
    size: int
    inodes: int
    created: float
    used: float | None
    count: int
    """How often it was used."""
    description: str
    parents: tuple[str, ...]
    shared: bool
    """An image of the Engine has the same layer."""
    mutable: bool
    holds: int = 0
    """Running builds that use it."""
    children: int = 0
    """Records on top of this one."""

    @property
    def visible_size(self) -> int:
        """What ``DiskUsage`` says: BuildKit does not measure what is being written to."""
        return 0 if self.mutable and self.holds else self.size

    def fields(self, *, in_use: bool = False) -> Fields:
        """What filters can ask for."""
        return {
            "id": self.id,
            "parents": ";".join(self.parents) or None,
            "description": self.description or None,
            "type": self.kind,
            "inuse": "" if in_use else None,
            "mutable": "" if self.mutable else None,
            "immutable": None if self.mutable else "",
            "shared": "" if self.shared else None,
            "private": None if self.shared else "",
        }


@dataclass(frozen=True, slots=True)
class Mount:
    """A record that a process writes to, and the lengths of the files in it."""

    record: Record
    files: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """What is to be left, as in ``PruneRequest``. All sizes zero: nothing."""

    all: bool = False
    keep_duration: float = 0.0
    """Seconds. What was used since then stays."""
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0
    filters: tuple[str, ...] = ()


class CacheStore:
    """The records of one builder."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.records: dict[str, Record] = {}
        self.size = 0
        """Bytes on the disk."""
        self.inodes = 0
        """Files on the disk."""
        self.changes = 0
        """Grows with every change, so that what was derived from the records can be kept."""

    def add(
        self,
        *,
        size: int,
        now: float,
        kind: str = "regular",
        used: float | None = None,
        count: int = 0,
        description: str = "",
        parents: Iterable[str] = (),
        shared: bool = False,
        inodes: int | None = None,
    ) -> Record:
        """Put a record on top of its parents.

        :raises KeyError: when a parent is not there.
        """
        record = Record(
            id=f"{self._rng.getrandbits(128):025x}"[-25:],
            kind=kind,
            size=size,
            # A file of 24 KiB on the average, and a directory.
            inodes=1 + size // 24576 if inodes is None else inodes,
            created=now,
            used=used,
            count=count,
            description=description,
            parents=tuple(parents),
            shared=shared,
            mutable=kind == "exec.cachemount",
        )
        for parent in record.parents:
            self.records[parent].children += 1
        self.records[record.id] = record
        self.size += record.size
        self.inodes += record.inodes
        self.changes += 1
        return record

    def remove(self, record: Record) -> None:
        """Take a record away that none lies on."""
        assert record.children == 0
        del self.records[record.id]
        for parent in record.parents:
            self.records[parent].children -= 1
        self.size -= record.size
        self.inodes -= record.inodes
        self.changes += 1

    def grow(self, record: Record, size: int) -> None:
        """Write to a record."""
        record.size += size
        self.size += size
        self.changes += 1

    def seal(self, record: Record) -> None:
        """Let a record that was written to be as it is."""
        record.mutable = False
        self.changes += 1

    def share(self, records: Iterable[Record], shared: bool) -> None:
        """Let an image of the Engine have the same layers, or have them no more."""
        for record in records:
            record.shared = shared
        self.changes += 1

    def hold(self, records: Iterable[Record], now: float) -> None:
        """Let a build use records: they can't be pruned until released."""
        for record in records:
            record.holds += 1
            record.count += 1
            record.used = now
        self.changes += 1

    def release(self, records: Iterable[Record], now: float) -> None:
        """Let a build that used records end."""
        for record in records:
            record.holds -= 1
            record.used = now
        self.changes += 1

    def in_use(self) -> set[str]:
        """List what running builds use, with all below it."""
        found: set[str] = set()
        look = [record.id for record in self.records.values() if record.holds]
        while look:
            name = look.pop()
            if name not in found:
                found.add(name)
                look.extend(self.records[name].parents)
        return found

    def prune(self, limits: PruneLimits, disk_free: int, now: float) -> Iterator[list[Record]]:
        """Remove records until the limits hold; yields what was removed, a batch at a time.

        :raises ValueError: when a filter can't be read.
        """
        wanted = parse_filters(limits.filters)
        total = sum(r.visible_size for r in self.records.values() if not r.shared)
        keep = _keep(limits, total, disk_free)

        def prunable(record: Record) -> bool:
            if record.holds or record.children:
                return False
            if not limits.all and (record.kind in _NEVER_WITHOUT_ALL or record.shared):
                return False
            if limits.keep_duration and (record.used or 0.0) > now - limits.keep_duration:
                return False
            return wanted(record.fields())

        while not keep or total >= keep:
            found = [record for record in self.records.values() if prunable(record)]
            found = _by_worth(found)[:1] if keep else found[:_BATCH]
            if not found:
                return
            for record in found:
                total -= record.size
                self.remove(record)
            yield found


def _keep(limits: PruneLimits, total: int, disk_free: int) -> int:
    """Bytes that may stay; zero: none, whatever the total is."""
    if not (limits.reserved or limits.max_used or limits.min_free):
        return 0
    caps = [limits.max_used] if limits.max_used else []
    if limits.min_free > disk_free:
        caps.append(total - (limits.min_free - disk_free))
    elif limits.min_free and not caps:
        caps.append(total)
    return max(min(caps, default=0), limits.reserved)


def _by_worth(records: list[Record]) -> list[Record]:
    """Sort as BuildKit does: rank by last use and rank by number of uses count alike."""
    by_use = _ranks([(record.used or 0.0, record.id) for record in records])
    by_count = _ranks([(float(record.count), record.id) for record in records])
    return sorted(records, key=lambda record: by_use[record.id] + by_count[record.id])


def _ranks(values: list[tuple[float, str]]) -> dict[str, float]:
    """Give each a rank of its value among the others', up to 1; a value of zero is the lowest."""
    distinct = sorted({value for value, _ in values} | {0.0})
    rank = {value: (place + 1) / len(distinct) for place, value in enumerate(distinct)}
    return {name: rank[value] for value, name in values}
