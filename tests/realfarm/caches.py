"""A builder's cache in sums: as the node's own tools tell it, and as the exporter serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tests.realfarm.daemon import Scrape
from tests.realfarm.node import Node
from tests.realfarm.specs import NODES
from tests.realfarm.truth import EMBEDDED

BUILDERS = [
    (spec.name, builder)
    for spec in NODES
    for builder in (("buildkitd",) if spec.engine == "buildkitd" else ("docker", spec.container))
    if builder
]
"""Every builder of the farm, with its node."""

DAY = 86400
AGES = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a cache."""

    kind: str
    size: int
    in_use: bool
    shared: bool
    used: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """A whole cache. Sizes in bytes."""

    sizes: dict[str, int]
    records: dict[str, int]
    reclaimable: int
    in_use: int
    shared: int
    idle: dict[str, int]

    @property
    def total(self) -> int:
        """Bytes of all records."""
        return sum(self.sizes.values())


def told(node: Node, builder: str, now: float) -> Sums:
    """What ``buildctl du`` says, or the Engine's ``/system/df`` of its own BuildKit."""
    records = list(_records(node, builder))
    sizes: Counter[str] = Counter()
    for record in records:
        sizes[record.kind] += record.size
    free = [record for record in records if not record.in_use]
    return Sums(
        sizes=dict(sizes),
        records=dict(Counter(record.kind for record in records)),
        reclaimable=sum(record.size for record in free),
        in_use=sum(record.size for record in records if record.in_use),
        shared=sum(record.size for record in records if record.shared),
        idle={
            label: sum(r.size for r in free if now - r.used.timestamp() > age)
            for label, age in AGES.items()
        },
    )


def served(scrape: Scrape, node: str, builder: str) -> Sums | None:
    """What the exporter serves of a builder's cache; nothing as long as it has not looked."""
    where = {"node": node, "builder": builder}
    if scrape.get("buildfarm_cache_reclaimable_bytes", **where) is None:
        return None

    def by(name: str, label: str) -> dict[str, int]:
        rows = scrape.all(f"buildfarm_cache_{name}", **where).items()
        return {dict(labels)[label]: int(value) for labels, value in rows}

    def one(name: str) -> int:
        return int(scrape.value(f"buildfarm_cache_{name}_bytes", **where))

    return Sums(
        sizes=by("size_bytes", "record_type"),
        records=by("records", "record_type"),
        reclaimable=one("reclaimable"),
        in_use=one("in_use"),
        shared=one("shared"),
        idle=by("idle_bytes", "older_than"),
    )


def _records(node: Node, builder: str) -> Iterable[Record]:
    if builder == EMBEDDED:
        rows = node.truth.system_df()["BuildCache"] or ()
        names = ("Type", "Size", "InUse", "Shared", "LastUsedAt", "CreatedAt")
    else:
        rows = node.truth.cache(builder)
        names = ("recordType", "size", "inUse", "shared", "lastUsedAt", "createdAt")
    for row in rows:
        kind, size, in_use, shared, used, created = (row.get(name) for name in names)
        yield Record(kind, size, in_use, shared, datetime.fromisoformat(used or created))
