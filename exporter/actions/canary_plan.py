"""Which canary builds there are to be on a node, and whether one can be now: pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from exporter.canaries import CanaryKey, CanaryOutcome
from exporter.errors import Layer
from exporter.model import (
    Builder,
    CanarySettings,
    Disk,
    PruneCritical,
    Snapshot,
    Threshold,
    Worker,
)
from exporter.platforms import includes
from exporter.words import count, share, size

# A canary's use of the disk, apart from what it writes for the timing: its base and its image.
_BESIDES = 32 * 1024**2

# Where the configuration does not say how low is too low.
_LEAST = PruneCritical(disk_free_below=Threshold(share=0.05), inodes_free_below=0.05)


@dataclass(frozen=True, slots=True)
class Target:
    """A platform on a builder, to be timed."""

    node: str
    builder: str
    platform: str
    emulated: bool = False
    refusal: tuple[CanaryOutcome, str] | None = None
    """Why it can't be built at all: the builder does not offer it, or nothing is known of it."""

    @property
    def key(self) -> CanaryKey:
        """As a canary's record has it."""
        return self.node, self.builder, self.platform


@dataclass(frozen=True, slots=True)
class Moment:
    """How a node is directly before a build."""

    builder: Builder | None
    """The builder as its Engine lists it now; ``None``: it is gone."""
    building: int = 0
    """Builds that run on the node."""
    pruning: bool = False
    disk: Disk | None = None
    """``None``: there is no way to look at it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to build. ``outcome`` is ``None`` for yes, else what there is to record."""

    outcome: CanaryOutcome | None = None
    detail: str | None = None
    """Why not; or what makes the timing of a build doubtful."""


def targets(snapshot: Snapshot, builders: Iterable[Builder] | None = None) -> Iterator[Target]:
    """Name the platforms that are to be timed on each selected builder.

    Those that the configuration expects of the node; else the one that its CPU is made for.
    ``builders``: as they are listed now; ``None``: as they were when they were last looked at.
    """
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    known = {worker.builder.name: worker for worker in workers}
    for builder in (worker.builder for worker in workers) if builders is None else builders:
        if builder.selected:
            worker = known.get(builder.name)
            for platform in snapshot.node.platforms or _own_platform(snapshot, worker):
                yield _target(snapshot.node.name, builder.name, platform, worker)


def down(snapshot: Snapshot) -> str | None:
    """Say why nothing can be built on the node, as far as it was looked at."""
    if snapshot.reachability is None:
        return "the node was not looked at yet"
    failure = snapshot.reachability.value.failure
    # Where one builder does not answer another one may.
    if failure is None or failure.layer is Layer.BUILDKIT:
        return None
    return f"the node is down: {failure.layer}: {failure.reason}: {failure.detail}"


def nothing_to_build(snapshot: Snapshot) -> str:
    """Say why no target is known on the node."""
    return down(snapshot) or "no builder is known on the node"


def judge(
    target: Target, settings: CanarySettings, critical: PruneCritical | None, moment: Moment
) -> Verdict:
    """Decide on one build. ``critical``: how low the node's disk must not get."""
    builder = moment.builder
    if builder is None or not builder.running:
        what = "is gone" if builder is None or not builder.container else "does not run"
        return Verdict(CanaryOutcome.SKIPPED, f"builder {target.builder} {what}")
    if target.refusal is not None:
        return Verdict(*target.refusal)
    if moment.pruning:
        return Verdict(CanaryOutcome.SKIPPED, "a prune runs on the node")
    if moment.disk is not None and (low := _low(moment.disk, settings, critical)):
        return Verdict(CanaryOutcome.SKIPPED, low)
    if moment.building:
        busy = f"{count(moment.building, 'build')} running on the node"
        return Verdict(CanaryOutcome.SKIPPED if settings.skip_while_building else None, busy)
    return Verdict()


def _own_platform(snapshot: Snapshot, worker: Worker | None) -> tuple[str, ...]:
    """The platform that the machine is made for, without those that its CPU runs besides."""
    offered = [p.platform for p in worker.platforms if not p.emulated] if worker else []
    engine = snapshot.workers.value.engine if snapshot.workers else None
    if engine is not None:
        named = f"{engine.os}/{engine.arch}"
        if named in offered or not offered:
            return (named,)
    # BuildKit lists the one that it was made for first.
    return tuple(offered[:1])


def _target(node: str, builder: str, platform: str, worker: Worker | None) -> Target:
    target = Target(node, builder, platform)
    if worker is None:
        said = "the builder's platforms are not known yet"
        return replace(target, refusal=(CanaryOutcome.SKIPPED, said))
    fitting = [offer for offer in worker.platforms if includes(offer.platform, platform)]
    if not fitting:
        said = f"builder {builder} does not offer {platform}, not even emulated"
        return replace(target, refusal=(CanaryOutcome.MISSING, said))
    return replace(target, emulated=all(offer.emulated for offer in fitting))


def _low(disk: Disk, settings: CanarySettings, critical: PruneCritical | None) -> str | None:
    """Say that the disk has too little left for a canary, if so."""
    limits = PruneCritical(
        (critical and critical.disk_free_below) or _LEAST.disk_free_below,
        (critical and critical.inodes_free_below) or _LEAST.inodes_free_below,
    )
    left = replace(disk, available=disk.available - settings.disk - _BESIDES)
    if not limits.passed(left):
        return None
    free = f"{size(disk.available)} ({share(disk.available, disk.size)}) of the disk"
    inodes = f"{share(disk.inodes_free, disk.inodes)} of the inodes"
    return f"too little is free: {free}, {inodes}"
