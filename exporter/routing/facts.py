"""What counts of one node for a build of one platform, or why it can't build that now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.canaries import CanaryKey, CanaryRecord, Step
from exporter.model import Builder, NodeSpec, Snapshot, Worker
from exporter.platforms import includes
from exporter.words import duration, share

STALE_LOOKS = 2
"""What is known of a node counts as long as not more than so many looks were missed."""

_LOW = 0.10
_FULL = 0.05


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has the least of: bytes or inodes."""

    left: int
    whole: int
    what: str
    low: bool
    """Builds had better go elsewhere."""

    @property
    def share(self) -> float:
        """How much is left, 0 to 1."""
        return self.left / self.whole

    def __str__(self) -> str:
        """As people read it: ``62 % of the disk free``."""
        return f"{share(self.left, self.whole)} of the {self.what} free"


@dataclass(frozen=True, slots=True)
class Facts:
    """What counts of a node that can build the platform."""

    node: str
    builder: Builder
    emulated: bool
    running: int | None
    """Builds that run on the selected builders; ``None``: not all of them say."""
    room: Room | None
    canary: CanaryRecord | None

    @property
    def canary_failed(self) -> bool:
        """Whether the latest canary build failed."""
        return _failed(self.canary)

    @property
    def throughput(self) -> float | None:
        """Bytes per second that the latest canary build hashed."""
        cpu = self.canary.steps.get(Step.CPU) if self.canary else None
        return cpu.throughput if cpu and not self.canary_failed else None


def facts(
    snapshot: Snapshot, platform: str, now: float, canaries: Mapping[CanaryKey, CanaryRecord]
) -> Facts | str:
    """Gather what is known of the node's best builder, or say why it has none now.

    ``platform`` as :func:`~exporter.platforms.normalise_platform` writes it.
    """
    node, reach = snapshot.node, snapshot.reachability
    if reach is None:
        return "not looked at yet"
    if now - reach.at > _patience(node):
        return f"not looked at for {duration(now - reach.at)}"
    if failure := reach.value.failure:
        return f"down: {failure.layer}: {failure.reason}: {failure.detail}"
    workers = selected(snapshot)
    if not workers:
        return "its builders are not known yet"
    runs = [worker for worker in workers if worker.builder.running]
    if not runs:
        return f"{_names(workers)}: not running"
    able = [
        Facts(
            node.name,
            worker.builder,
            emulated,
            running(snapshot, now),
            room(snapshot),
            canaries.get((node.name, worker.builder.name, platform)),
        )
        for worker in runs
        if (emulated := _emulates(worker, platform)) is not None
    ]
    if not able:
        return f"{_names(runs)}: {platform} is not offered, not even emulated"
    best = min(able, key=lambda a: (a.emulated, a.canary_failed, a.builder.name))
    if best.room is not None and best.room.share < _FULL:
        return f"disk full: {best.room}"
    return best


def selected(snapshot: Snapshot) -> list[Worker]:
    """List the node's selected builders, as far as they are known."""
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    return [worker for worker in workers if worker.builder.selected]


def running(snapshot: Snapshot, now: float) -> int | None:
    """Count the builds that run on the selected builders; ``None``: not all of them say."""
    state = snapshot.collectors.get("builds")
    heard = state.last_success if state else None
    if snapshot.builds is None or heard is None or now - heard > _patience(snapshot.node):
        return None
    known = {builds.builder: builds for builds in snapshot.builds.value}
    its = [known.get(worker.builder.name) for worker in selected(snapshot)]
    told = [builds.running for builds in its if builds is not None and builds.told]
    return sum(told) if told and len(told) == len(its) else None


def begun(snapshot: Snapshot, now: float) -> int | None:
    """Count the builds ever seen to begin on the selected builders; ``None``: not all say."""
    run = running(snapshot, now)
    if run is None or snapshot.builds is None:
        return None
    names = {worker.builder.name for worker in selected(snapshot)}
    return run + sum(b.counts.total for b in snapshot.builds.value if b.builder in names)


def room(snapshot: Snapshot) -> Room | None:
    """What the node's disk has the least of; ``None``: not known."""
    if snapshot.disk is None:
        return None
    disk, prune = snapshot.disk.value, snapshot.node.prune
    kinds = ((disk.available, disk.size, "disk"), (disk.inodes_free, disk.inodes, "inodes"))
    # Some filesystems have no fixed number of inodes, and say 0.
    known = [kind for kind in kinds if kind[1]]
    if not known:
        return None
    left, whole, what = min(known, key=lambda kind: kind[0] / kind[1])
    critical = prune is not None and prune.critical.passed(disk)
    return Room(left, whole, what, low=critical or left / whole < _LOW)


def _patience(node: NodeSpec) -> float:
    """Seconds after which nothing that is looked at as often as reachability counts any more."""
    return STALE_LOOKS * node.collect.reachability + node.collect.timeout


def _names(workers: list[Worker]) -> str:
    return ", ".join(worker.builder.name for worker in workers)


def _emulates(worker: Worker, platform: str) -> bool | None:
    """Whether the builder emulates the platform; ``None``: it does not offer it."""
    offered = [p.emulated for p in worker.platforms if includes(p.platform, platform)]
    return all(offered) if offered else None


def _failed(canary: CanaryRecord | None) -> bool:
    return canary is not None and canary.success is False
