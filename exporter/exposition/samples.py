"""What each part of a snapshot says in metrics: one function a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from exporter.builds import BUCKETS, Builds
from exporter.exposition import families as f
from exporter.model import (
    Cache,
    Certificates,
    CollectorState,
    Disk,
    NodeSpec,
    Orphans,
    Reachability,
    Snapshot,
    Workers,
)

Sample = tuple[f.Family, Mapping[str, str], float | f.Distribution]


def parts(snapshot: Snapshot) -> Iterator[tuple[str, Any, Iterator[Sample]]]:
    """Name each part that is known, with the object it was made from and its samples.

    The samples are generators: a part whose object is the same as before costs nothing.
    """
    node = snapshot.node
    yield "connects", snapshot.connects, _connects(snapshot.connects)
    if reachability := snapshot.reachability:
        yield "reachability", reachability, _reachability(reachability.value)
    if workers := snapshot.workers:
        yield "workers", workers, _workers(node, workers.value)
    if disk := snapshot.disk:
        yield "disk", disk, _disk(disk.value)
    if cache := snapshot.cache:
        yield "cache", cache, _cache(cache.value)
    if orphans := snapshot.orphans:
        yield "orphans", orphans, _orphans(orphans.value)
    if builds := snapshot.builds:
        # Not the whole part: it is learned anew all the time, and mostly says the same.
        yield "builds", builds.value, _builds(builds.value)
    if certificates := snapshot.certificates:
        yield "certificates", certificates, _certificates(certificates.value)
    for name, state in snapshot.collectors.items():
        yield f"collector {name}", state, _collector(name, state)


def _connects(connects: int) -> Iterator[Sample]:
    yield f.CONNECTS, {}, connects


def _reachability(value: Reachability) -> Iterator[Sample]:
    yield f.NODE_UP, {}, value.up
    for layer, up in value.layers.items():
        yield f.LAYER_UP, {"layer": layer}, up
    if value.failure is not None:
        yield f.NODE_FAILURE, {"layer": value.failure.layer, "reason": value.failure.reason}, 1
    if value.round_trip is not None:
        yield f.ROUND_TRIP, {}, value.round_trip


def _workers(node: NodeSpec, value: Workers) -> Iterator[Sample]:
    offered = [p for worker in value.workers for p in worker.platforms]
    engine = value.engine
    if engine is not None:
        system, arch, version = engine.os, engine.arch, engine.version
    else:
        # BuildKit lists the platform it was built for first.
        system, arch = offered[0].platform.split("/")[:2] if offered else ("", "")
        version = ""
    yield (
        f.NODE_INFO,
        {
            "transport": node.transport,
            "driver": "remote" if node.remote else "docker",
            "os": system,
            "arch": arch,
            "engine_version": version,
        },
        1,
    )
    selected = [worker for worker in value.workers if worker.builder.selected]
    native = {p.platform for worker in selected for p in worker.platforms if not p.emulated}
    # As long as no selected builder has answered, nobody knows what is missing.
    for expected in node.platforms if selected else ():
        yield f.PLATFORM_MISSING, {"platform": expected}, expected not in native
    for worker in value.workers:
        builder = {"builder": worker.builder.name}
        yield (
            f.BUILDER_INFO,
            {
                **builder,
                "driver": worker.builder.driver,
                "buildkit_version": worker.version,
                "selected": _flag(worker.builder.selected),
            },
            1,
        )
        for platform in worker.platforms:
            labels = {"platform": platform.platform, "emulated": _flag(platform.emulated)}
            yield f.BUILDER_PLATFORM, {**builder, **labels}, 1
        if worker.gc_keep is not None:
            yield f.GC_KEEP, builder, worker.gc_keep


def _disk(value: Disk) -> Iterator[Sample]:
    labels = {"path": value.path}
    yield f.DISK_SIZE, labels, value.size
    yield f.DISK_AVAILABLE, labels, value.available
    yield f.DISK_INODES, labels, value.inodes
    yield f.DISK_INODES_FREE, labels, value.inodes_free
    if value.full_at is not None:
        yield f.DISK_FULL, labels, value.full_at


def _cache(value: tuple[Cache, ...]) -> Iterator[Sample]:
    for cache in value:
        builder = {"builder": cache.builder}
        for record_type, sums in cache.types.items():
            labels = {**builder, "record_type": record_type}
            yield f.CACHE_SIZE, labels, sums.size
            yield f.CACHE_RECORDS, labels, sums.records
        yield f.CACHE_RECLAIMABLE, builder, cache.reclaimable
        yield f.CACHE_IN_USE, builder, cache.in_use
        yield f.CACHE_SHARED, builder, cache.shared
        for age, size in cache.idle.items():
            yield f.CACHE_IDLE, {**builder, "older_than": age}, size


def _orphans(value: Orphans) -> Iterator[Sample]:
    yield f.ORPHANS, {}, len(value.volumes)
    if value.size is not None:
        yield f.ORPHANS_SIZE, {}, value.size


def _builds(value: tuple[Builds, ...]) -> Iterator[Sample]:
    for builds in value:
        if not builds.told:
            continue
        labels, counts = {"builder": builds.builder}, builds.counts
        yield f.BUILDS_RUNNING, labels, builds.running
        yield f.BUILDS, labels, counts.total
        yield f.BUILDS_FAILED, labels, counts.failed
        durations = f.Distribution(BUCKETS, counts.buckets, counts.duration_sum)
        yield f.BUILD_DURATION, labels, durations
        yield f.BUILD_STEPS, labels, counts.steps
        yield f.BUILD_STEPS_CACHED, labels, counts.cached


def _certificates(value: Certificates) -> Iterator[Sample]:
    for side, end in (("server", value.server), ("client", value.client)):
        if end is not None:
            yield f.CERTIFICATE_END, {"side": side}, end


def _collector(name: str, state: CollectorState) -> Iterator[Sample]:
    labels = {"collector": name}
    yield f.COLLECTOR_SUCCESS, labels, state.success
    yield f.COLLECTOR_DURATION, labels, state.duration
    yield f.COLLECTOR_TIMEOUTS, labels, state.timeouts
    if state.last_success is not None:
        yield f.COLLECTOR_LAST_SUCCESS, labels, state.last_success


def _flag(value: bool) -> str:
    return "true" if value else "false"
