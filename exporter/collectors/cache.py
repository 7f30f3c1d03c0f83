"""The cache of every builder, summed over BuildKit's own list of records (``DiskUsage``)."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look, Partial
from exporter.collectors.builders import from_every_builder
from exporter.model import Builder, Cache, CacheType

DAY = 86400
IDLE_AGES = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}


async def collect(client: NodeClient, look: Look) -> tuple[Cache, ...] | Partial[tuple[Cache, ...]]:
    """Sum up every builder's records. Which builders there are, the workers' collector learns."""

    async def ask(builder: Builder) -> Cache:
        return summarise(builder.name, await client.control(builder).disk_usage(), look.now)

    previous = {cache.builder: cache for cache in look.previous or ()}
    return await from_every_builder(await client.builders(), ask, previous, look.until)


def summarise(builder: str, records: Iterable[pb.UsageRecord], now: float) -> Cache:
    """Add records up as ``docker buildx du`` does: in use is not reclaimable, shared is both.

    A size that BuildKit has not worked out yet is -1 there and counts as nothing. What was never
    used counts as used when it was made.
    """
    types: dict[str, tuple[int, int]] = {}
    reclaimable = in_use = shared = 0
    idle = dict.fromkeys(IDLE_AGES, 0)
    for record in records:
        size = max(record.Size, 0)
        total, count = types.get(record.RecordType, (0, 0))
        types[record.RecordType] = (total + size, count + 1)
        if record.Shared:
            shared += size
        if record.InUse:
            in_use += size
            continue
        reclaimable += size
        used = record.LastUsedAt.seconds or record.CreatedAt.seconds
        for label, age in IDLE_AGES.items():
            if now - used > age:
                idle[label] += size
    return Cache(
        builder=builder,
        at=now,
        types={name: CacheType(*sums) for name, sums in sorted(types.items())},
        reclaimable=reclaimable,
        in_use=in_use,
        shared=shared,
        idle=idle,
    )


COLLECTOR = Collector("cache", lambda node: node.collect.cache, collect)
