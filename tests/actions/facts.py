"""A node as it is known, and records of its prunes: what the policy decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exporter.errors import Layer, Reason
from exporter.model import (
    Builder,
    BuilderPlatform,
    Cache,
    CacheType,
    CollectSettings,
    Disk,
    Driver,
    Failure,
    Learned,
    NodeSpec,
    PruneCritical,
    PruneSettings,
    PruneTriggers,
    Reachability,
    Snapshot,
    Threshold,
    UnixEndpoint,
    Worker,
    Workers,
)
from exporter.prunes import Outcome, PruneRecord, Trigger

NOW = 1_800_000_000.0
GIB = 1024**3
FARM0 = Builder("farm0", Driver.CONTAINER, container="c0")
FARM1 = Builder("farm1", Driver.CONTAINER, container="c1")
FREE_OF_TROUBLE = Disk("/var/lib/docker", 100 * GIB, 60 * GIB, 1000, 800)
UP = Reachability({Layer.TRANSPORT: True, Layer.ENGINE: True, Layer.BUILDKIT: True}, None, 0.001)
DOWN = Reachability(
    {Layer.TRANSPORT: False, Layer.ENGINE: False, Layer.BUILDKIT: False},
    Failure(Layer.TRANSPORT, Reason.TIMEOUT, "no answer"),
    None,
)


def gib(number: float) -> Threshold:
    """A threshold in GiB."""
    return Threshold(bytes=round(number * GIB))


def share(number: float) -> Threshold:
    """A threshold as a part of the filesystem."""
    return Threshold(share=number)


def settings(
    *,
    keep: Threshold | None = None,
    critical: PruneCritical | None = None,
    options: Mapping[str, Any] | None = None,
    **when: Any,
) -> PruneSettings:
    """Prune settings, to 20 GiB; ``when``: the triggers, by default a cache above 40 GiB."""
    return PruneSettings(
        keep_storage=keep or gib(20),
        when=PruneTriggers(**(when or {"cache_above": gib(40)})),
        critical=critical or PruneCritical(),
        **(options or {}),
    )


def cache(
    builder: str = "farm0", size: float = 50, shared: float = 0, at: float = NOW - 10
) -> Cache:
    """A cache of ``size`` GiB, of which an image shares some."""
    return Cache(
        builder,
        at,
        {"regular": CacheType(round(size * GIB), 10)},
        reclaimable=round(size * GIB),
        in_use=0,
        shared=round(shared * GIB),
        idle={},
    )


def disk(free: float = 60, inodes_free: int = 800, full_at: float | None = None) -> Disk:
    """A disk of 100 GiB and 1000 inodes."""
    return replace(
        FREE_OF_TROUBLE, available=round(free * GIB), inodes_free=inodes_free, full_at=full_at
    )


def snapshot(
    *caches: Cache,
    disk: Disk = FREE_OF_TROUBLE,
    disk_at: float = NOW - 10,
    builders: tuple[Builder, ...] = (FARM0,),
    reach: Reachability | None = UP,
    name: str = "n1",
    prune: PruneSettings | None = None,
    **node: Any,
) -> Snapshot:
    """A node looked at 10 s ago, whose builders have these caches."""
    spec = NodeSpec(
        name, UnixEndpoint("/run/docker.sock"), collect=CollectSettings(), prune=prune, **node
    )
    native = (BuilderPlatform("linux/amd64", False), BuilderPlatform("linux/arm64", True))
    return Snapshot(
        spec,
        reachability=Learned(reach, NOW - 5) if reach else None,
        workers=Learned(
            Workers(None, tuple(Worker(b, "v0.32.2", native, None) for b in builders)), NOW - 100
        ),
        disk=Learned(disk, disk_at),
        cache=Learned(caches or (cache(),), max((c.at for c in caches), default=NOW - 10)),
    )


def record(
    ended: float | None = NOW - 3600,
    *,
    node: str = "n1",
    builder: str = "farm0",
    outcome: Outcome | None = None,
    seen: float | None = None,
    started: float | None = None,
    **more: Any,
) -> PruneRecord:
    """A prune that ended then; ``None``: it runs and was heard of just now."""
    last = NOW if ended is None else ended
    began = last - 60 if started is None else started
    values: dict[str, Any] = {
        "id": f"{node}-{builder}-{began}",
        "node": node,
        "builder": builder,
        "trigger": Trigger.CACHE,
        "reason": "because",
        "keep": 20 * GIB,
        "all": False,
        "started_at": began,
        "seen_at": last if seen is None else seen,
        "finished_at": ended,
        "outcome": outcome or (Outcome.RUNNING if ended is None else Outcome.OK),
    }
    return PruneRecord(**(values | more))


def latest(*records: PruneRecord) -> dict[tuple[str, str], PruneRecord]:
    """The latest prunes by builder."""
    return {r.key: r for r in records}
