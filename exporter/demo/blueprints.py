"""What a simulated node is made of, and the nodes of the demo farm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Engine:
    """A release of the Docker Engine: its API, and the BuildKit in it."""

    version: str
    api: str
    buildkit: str
    """Empty: too old to tell its version and to keep a history of builds."""


ENGINE_20 = Engine("20.10.24", "1.41", "")
ENGINE_24 = Engine("24.0.9", "1.43", "v0.11.7")
ENGINE_26 = Engine("26.1.5", "1.45", "v0.13.2")
ENGINE_28 = Engine("28.5.2", "1.51", "v0.25.1")


@dataclass(frozen=True, slots=True)
class BuilderPlan:
    """A builder, and how busy it is. Sizes in bytes, durations in seconds."""

    name: str
    version: str = "v0.32.2"
    records: int = 0
    """Cache records to begin with."""
    record_size: int = 48 * MIB
    """Mean size of a record, those that builds add included."""
    gc_keep: int | None = None
    """Cap of the builder's own garbage collection."""
    build_every: float | None = None
    """Mean seconds from one build to the next; ``None``: nobody builds there."""
    failing: float = 0.06
    """Share of the builds that fail."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A node. Sizes in bytes."""

    name: str
    way: Literal["ssh", "tls"] = "ssh"
    remote: bool = False
    """A bare buildkitd instead of a Docker Engine; its one builder is the first of ``builders``."""
    arch: Literal["amd64", "arm64"] = "amd64"
    emulated: tuple[str, ...] = ()
    """Platforms that QEMU runs there."""
    expected: tuple[str, ...] = ()
    """What is built there besides what the CPU is made for."""
    engine: Engine = ENGINE_28
    builders: tuple[BuilderPlan, ...] = ()
    """Builders in containers."""
    embedded: BuilderPlan = BuilderPlan("docker")
    disk_size: int = 200 * GIB
    disk_base: int = 30 * GIB
    """In use by other things than build caches."""
    inodes: int = 12_000_000
    cpu: int = 330 * MIB
    """Bytes that it hashes in a second."""
    disk_speed: int = 260 * MIB
    """Bytes that it writes in a second."""
    orphans: tuple[tuple[str, int], ...] = ()
    """State volumes without a container: name and size."""
    certificate_days: int = 365
    outages: bool = False
    """Goes down now and then."""
    throttled: bool = False
    """Its CPU gets hot and slow now and then."""


# The first is the busiest: its disk fills within minutes.
FARM: tuple[Blueprint, ...] = (
    Blueprint(
        "amd64-1",
        builders=(
            BuilderPlan("farm0", records=360, record_size=320 * MIB, build_every=2.5, failing=0.1),
        ),
        embedded=BuilderPlan("docker", records=60, record_size=24 * MIB),
        disk_size=240 * GIB,
        disk_base=60 * GIB,
        cpu=420 * MIB,
        disk_speed=520 * MIB,
    ),
    Blueprint(
        "amd64-2",
        engine=ENGINE_26,
        emulated=("linux/arm64", "linux/arm/v7", "linux/s390x"),
        expected=("linux/arm64",),
        cpu=360 * MIB,
        disk_speed=400 * MIB,
        builders=(BuilderPlan("farm1", records=260, gc_keep=40 * GIB, build_every=9.0),),
        embedded=BuilderPlan("docker", records=40, record_size=16 * MIB),
        outages=True,
    ),
    Blueprint(
        "arm64-1",
        arch="arm64",
        builders=(
            BuilderPlan("farm2", records=240, gc_keep=36 * GIB, build_every=8.0),
            BuilderPlan("nightly0", records=90, record_size=90 * MIB, gc_keep=20 * GIB),
        ),
        disk_size=160 * GIB,
        orphans=(("buildx_buildkit_old0_state", 7 * GIB + 318 * MIB),),
        throttled=True,
    ),
    Blueprint(
        "arm64-2",
        way="tls",
        arch="arm64",
        engine=ENGINE_26,
        builders=(
            BuilderPlan("farm3", "v0.19.0", records=180, gc_keep=30 * GIB, build_every=14.0),
        ),
        disk_size=160 * GIB,
        certificate_days=9,
    ),
    Blueprint(
        "amd64-3",
        engine=ENGINE_24,
        embedded=BuilderPlan(
            "docker", records=200, record_size=80 * MIB, gc_keep=24 * GIB, build_every=11.0
        ),
        disk_size=120 * GIB,
        disk_speed=150 * MIB,
    ),
    Blueprint(
        "kitd-1",
        way="tls",
        remote=True,
        builders=(BuilderPlan("buildkitd", records=220, gc_keep=32 * GIB, build_every=10.0),),
        disk_size=100 * GIB,
        disk_base=14 * GIB,
    ),
    Blueprint(
        "amd64-4",
        engine=ENGINE_20,
        embedded=BuilderPlan("docker", records=150, gc_keep=20 * GIB, build_every=30.0),
        disk_size=80 * GIB,
        disk_base=18 * GIB,
    ),
)


def blueprints(count: int) -> Iterator[Blueprint]:
    """Give the blueprints of a farm of ``count`` nodes.

    What follows the first seven repeats their kinds under names of their own, at the pace of a
    farm in which most nodes wait for work.
    """
    yield from FARM[:count]
    for number in range(len(FARM), count):
        kind = FARM[number % len(FARM)]
        stem = kind.name.rsplit("-", 1)[0]
        yield replace(
            kind,
            name=f"{stem}-{number + 1}",
            builders=tuple(_calm(plan, number, kind.remote) for plan in kind.builders),
            embedded=_calm(kind.embedded, number, keep_name=True),
            disk_size=max(kind.disk_size, 200 * GIB),
            certificate_days=365,
            outages=False,
            throttled=False,
        )


def _calm(plan: BuilderPlan, number: int, keep_name: bool) -> BuilderPlan:
    return replace(
        plan,
        name=plan.name if keep_name else f"{plan.name.rstrip('0123456789')}{number}",
        records=plan.records // 2,
        record_size=min(plan.record_size, 96 * MIB),
        gc_keep=plan.gc_keep or 20 * GIB,
        build_every=plan.build_every and max(plan.build_every * 6, 60.0),
    )
