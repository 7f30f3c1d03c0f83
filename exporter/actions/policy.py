"""When a builder's cache is pruned: pure decisions, no I/O, no clock.

Two steps. :func:`decide` looks at what is known of a node: is a threshold passed, is there
anything to free, is it long enough since the last time? Only when it says ``prune`` is it worth
asking the builder whether builds run; :func:`hold` then weighs that, and what else is being pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from exporter.model import Builder, Cache, Disk, PruneSettings, Snapshot
from exporter.prunes import LEASE, Decision, Latest, PruneRecord, Trigger, Verdict
from exporter.words import count, duration, share, size

STALE_LOOKS = 2
"""A value counts as long as not more than so many looks were missed."""


def decide(
    snapshot: Snapshot, builder: Builder, settings: PruneSettings, latest: Latest, now: float
) -> Decision:
    """Decide on one builder by what is known of its node.

    ``latest``: the latest prune of each builder, running ones included.
    """
    node = snapshot.node

    def say(verdict: Verdict, reason: str) -> Decision:
        return Decision(node.name, builder.name, verdict, reason)

    records = _records(snapshot, builder, latest, now)
    facts = _facts(snapshot, builder, records, now)
    if isinstance(facts, str):
        return say(Verdict.STALE, facts)
    cache, disk = facts
    keep = settings.keep_storage.of(disk.size)
    if refusal := _refusal(keep, disk, settings):
        return say(Verdict.REFUSED, refusal)
    passed = {found.trigger: found for found in passed_triggers(own(cache), disk, settings, now)}
    if not passed:
        return say(Verdict.FINE, "no threshold is passed")
    why = next(iter(passed.values()))
    due = Decision(
        node.name,
        builder.name,
        Verdict.PRUNE,
        why.reason,
        trigger=why.trigger,
        critical=settings.critical.passed(disk),
        keep=keep,
    )
    if own(cache) <= keep:
        inodes = passed.get(Trigger.INODES)
        if inodes is None or own(cache) < 2:
            reason = (
                f"{why.reason}; but the cache that BuildKit may free, {size(own(cache))}, "
                f"is not above keep_storage ({size(keep)})"
            )
            return replace(due, verdict=Verdict.NOTHING_TO_FREE, reason=reason)
        # Nobody counts inodes but us, and keep_storage can't say how many files to keep.
        half = own(cache) // 2
        due = replace(due, trigger=Trigger.INODES, reason=inodes.reason, keep=half)
    return _unless_too_soon(due, settings, records, now)


def hold(
    due: Decision,
    settings: PruneSettings,
    *,
    running_builds: int | None,
    waiting_since: float | None,
    full_platforms: Collection[str],
    now: float,
) -> Decision:
    """Put a due prune off while builds or other prunes run.

    ``running_builds``: ``None`` when the builder did not say in time; then it may be busy.
    ``waiting_since``: since when it waits for builds. ``full_platforms``: those of the node of
    which no further node may be pruned now.
    """
    if full_platforms:
        names = ", ".join(sorted(full_platforms))
        reason = f"{due.reason}; waits for the prune of another node of {names}"
        return replace(due, verdict=Verdict.WAIT_TURN, reason=reason)
    left = (now if waiting_since is None else waiting_since) + settings.wait_for_idle - now
    if running_builds != 0 and not due.critical and left > 0:
        builds = (
            f"{count(running_builds, 'build')} running" if running_builds else "may be building"
        )
        reason = f"{due.reason}; {builds}, waits at most {duration(left)} more"
        return replace(due, verdict=Verdict.WAIT_BUILDS, reason=reason)
    return due


def own(cache: Cache) -> int:
    """Bytes of the records that no image shares: what BuildKit compares with what to keep."""
    return cache.size - cache.shared


@dataclass(frozen=True, slots=True)
class Passed:
    """A threshold that is passed."""

    trigger: Trigger
    reason: str


def passed_triggers(
    cache: int, disk: Disk, settings: PruneSettings, now: float
) -> Iterator[Passed]:
    """Name the thresholds that are passed, the most urgent one first.

    ``cache``: bytes of a builder's records that no image shares.
    """
    when, critical = settings.when, settings.critical
    for limit in (critical.disk_free_below, when.disk_free_below):
        if limit is not None and disk.available < limit.of(disk.size):
            free = f"{size(disk.available)} ({share(disk.available, disk.size)})"
            yield Passed(Trigger.DISK, f"{free} of the disk is free, less than {limit}")
            break
    for part in (critical.inodes_free_below, when.inodes_free_below):
        if part is not None and disk.inodes and disk.inodes_free < part * disk.inodes:
            free = share(disk.inodes_free, disk.inodes)
            yield Passed(
                Trigger.INODES, f"{free} of the inodes are free, less than {part * 100:g} %"
            )
            break
    above = when.cache_above
    if above is not None and cache > above.of(disk.size):
        yield Passed(Trigger.CACHE, f"the cache is {size(cache)}, more than {above}")
    within = when.full_within
    if within is not None and disk.full_at is not None and disk.full_at - now < within:
        left = duration(max(disk.full_at - now, 0))
        yield Passed(Trigger.FORECAST, f"the disk will be full in {left}, as it fills now")


def native_platforms(snapshot: Snapshot) -> frozenset[str]:
    """Name the platforms that a node is there for, without variants (``linux/amd64``)."""
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    names = list(snapshot.node.platforms) or [
        p.platform for w in workers if w.builder.selected for p in w.platforms if not p.emulated
    ]
    return frozenset("/".join(name.split("/")[:2]) for name in names)


def _records(snapshot: Snapshot, builder: Builder, latest: Latest, now: float) -> list[PruneRecord]:
    """Give the latest prune of each of the node's builders.

    What seems to end in the future was written before the clock was put back, and says nothing:
    else there would be no prune until that time comes.
    """
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    names = {builder.name, *(worker.builder.name for worker in workers)}
    found = (latest.get((snapshot.node.name, name)) for name in sorted(names))
    return [record for record in found if record is not None and record.ended_at <= now + LEASE]


def _facts(
    snapshot: Snapshot, builder: Builder, records: Collection[PruneRecord], now: float
) -> tuple[Cache, Disk] | str:
    """What is known for sure of the builder's cache and the disk, or why that is too little."""
    reach = snapshot.reachability
    if reach is None:
        return "not looked at yet"
    if not builder.running:
        return "the builder does not run"
    failure = reach.value.failure
    if failure is not None and not any(reach.value.layers.values()):
        return f"the node does not answer ({failure.reason})"
    caches = snapshot.cache.value if snapshot.cache else ()
    cache = next((cache for cache in caches if cache.builder == builder.name), None)
    if cache is None or snapshot.disk is None:
        return "its cache is not known yet" if cache is None else "its disk is not known yet"
    since = max((r.ended_at for r in records if not r.runs(now)), default=0.0)
    collect = snapshot.node.collect
    for what, at, interval in (
        ("cache", cache.at, collect.cache),
        ("disk", snapshot.disk.at, collect.disk),
    ):
        if now - at > STALE_LOOKS * interval + collect.timeout:
            return f"what is known of its {what} is {duration(now - at)} old"
        if at <= since:
            return f"its {what} was not looked at since the last prune"
    return cache, snapshot.disk.value


def _refusal(keep: int, disk: Disk, settings: PruneSettings) -> str | None:
    """Why these settings can't be right on this filesystem."""
    if keep <= 0:
        return "keep_storage is nothing on this filesystem; the cache would be lost"
    if keep >= disk.size:
        return f"keep_storage ({size(keep)}) is not less than the filesystem ({size(disk.size)})"
    above = settings.when.cache_above
    if above is not None and keep > above.of(disk.size):
        return f"keep_storage ({size(keep)}) is more than cache_above ({size(above.of(disk.size))})"
    return None


def _unless_too_soon(
    due: Decision, settings: PruneSettings, records: Collection[PruneRecord], now: float
) -> Decision:
    for record in records:
        if record.runs(now):
            reason = f"{due.reason}; a prune of {record.builder} is running"
            return replace(due, verdict=Verdict.WAIT_TURN, reason=reason)
    last = next((record for record in records if record.key == due.key), None)
    left = 0.0 if last is None else last.ended_at + settings.cooldown - now
    if last is None or left <= 0:
        return due
    reason = (
        f"{due.reason}; the last prune was {duration(now - last.ended_at)} ago, "
        f"the next is possible in {duration(left)}"
    )
    return replace(due, verdict=Verdict.COOLDOWN, reason=reason)


def still_due(decision: Decision, settings: PruneSettings) -> Callable[[int, Disk], bool] | None:
    """Make the judge of a prune's effect: is what made it due still there?

    ``None`` for a forecast: that can't be made anew on the spot.
    """
    if decision.trigger is Trigger.FORECAST:
        return None

    def judge(cache: int, disk: Disk) -> bool:
        found = passed_triggers(cache, disk, settings, now=0.0)
        return any(passed.trigger is decision.trigger for passed in found)

    return judge


def full_platforms(
    node: str, platforms: Mapping[str, Collection[str]], latest: Latest, limit: int, now: float
) -> frozenset[str]:
    """Name the platforms of a node of which ``limit`` other nodes are being pruned.

    ``platforms``: those of every node, by the node's name.
    """
    busy = {record.node for record in latest.values() if record.runs(now)} - {node}
    return frozenset(
        platform
        for platform in platforms.get(node, ())
        if sum(platform in platforms.get(other, ()) for other in busy) >= limit
    )
