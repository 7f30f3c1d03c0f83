"""Nodes as they are known, and what is known of their builds and canaries."""

from __future__ import annotations

from dataclasses import replace

from exporter.builds import BuildCounts, Builds
from exporter.canaries import CanaryOutcome, CanaryRecord, CanaryTrigger, Step, StepTime
from exporter.errors import Layer, Reason
from exporter.model import (
    Builder,
    BuilderPlatform,
    CollectorState,
    Disk,
    Driver,
    Failure,
    Learned,
    NodeSpec,
    PruneSettings,
    Reachability,
    Snapshot,
    UnixEndpoint,
    Worker,
    Workers,
)

NOW = 1_800_000_000.0
AMD64, ARM64 = "linux/amd64", "linux/arm64"
MIB = 1024**2

UP = Reachability(dict.fromkeys(Layer, True), None, 0.001)
DOWN = Reachability(
    dict.fromkeys(Layer, False), Failure(Layer.TRANSPORT, Reason.TIMEOUT, "no answer"), None
)


def worker(
    name: str = "farm0",
    native: str = AMD64,
    emulated: str = ARM64,
    *,
    selected: bool = True,
    running: bool = True,
) -> Worker:
    """A builder; ``native`` and ``emulated`` are lists with spaces between."""
    platforms = [BuilderPlatform(name, False) for name in native.split()]
    platforms += [BuilderPlatform(name, True) for name in emulated.split()]
    builder = Builder(name, Driver.CONTAINER, selected=selected, running=running)
    return Worker(builder, "v0.32.2", tuple(platforms), None)


def node(
    name: str,
    *workers: Worker,
    reachability: Reachability = UP,
    age: float = 5.0,
    building: int | None = 0,
    built: int = 0,
    free: float | None = 0.55,
    inodes_free: float = 1.0,
    prune: PruneSettings | None = None,
) -> Snapshot:
    """A node; with ``farm0``, which builds amd64 natively, where no builder is given.

    ``building``: on each selected builder; ``None``: it does not say.
    """
    workers = workers or (worker(),)
    disk = None if free is None else Disk("/d", 1000, int(free * 1000), 500, int(inodes_free * 500))
    builds = tuple(
        Builds(w.builder.name, building is not None, building or 0, BuildCounts(total=built))
        for w in workers
    )
    return Snapshot(
        NodeSpec(name, UnixEndpoint(f"/{name}"), prune=prune),
        reachability=Learned(reachability, NOW - age),
        workers=Learned(Workers(None, workers), NOW - 300),
        disk=None if disk is None else Learned(disk, NOW - 10),
        builds=Learned(builds, NOW - age),
        collectors={"builds": CollectorState(True, 0.1, NOW - age, 0)},
    )


def arm64(name: str) -> Snapshot:
    """A node of the other kind."""
    return node(name, worker(native=ARM64, emulated=AMD64))


def canary(
    node: str,
    throughput: float = 400,
    outcome: CanaryOutcome = CanaryOutcome.OK,
    *,
    builder: str = "farm0",
    platform: str = AMD64,
    age: float = 3600.0,
) -> CanaryRecord:
    """A canary build; ``throughput`` in MiB per second."""
    good = outcome is CanaryOutcome.OK
    steps = {Step.CPU: StepTime(1.0, round(throughput * MIB))} if good else {}
    at = NOW - age
    trigger = CanaryTrigger.SCHEDULE
    return CanaryRecord("1", node, builder, platform, False, trigger, outcome, at - 2, at, steps)


def busier(snapshot: Snapshot, *, running: int, total: int) -> Snapshot:
    """The same node later, with other numbers of builds."""
    assert snapshot.builds is not None
    builds = tuple(
        replace(b, running=running, counts=BuildCounts(total=total)) for b in snapshot.builds.value
    )
    return replace(snapshot, builds=Learned(builds, NOW))


def deaf(snapshot: Snapshot, since: float | None) -> Snapshot:
    """The same node after its builds could not be followed for so many seconds, or ever."""
    heard = None if since is None else NOW - since
    failed = Failure(Layer.BUILDKIT, Reason.BUILDKIT, "the stream ended")
    return replace(snapshot, collectors={"builds": CollectorState(False, 0.1, heard, 0, failed)})
