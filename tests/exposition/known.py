"""A node of which everything is known."""

from __future__ import annotations

from typing import TypeVar

from exporter.builds import Build, BuildCounts, Builds
from exporter.errors import Layer, Reason
from exporter.model import (
    Builder,
    BuilderPlatform,
    Cache,
    CacheType,
    Certificates,
    CollectorState,
    Disk,
    Driver,
    EngineInfo,
    Failure,
    Learned,
    NodeSpec,
    Orphans,
    Reachability,
    Snapshot,
    SshEndpoint,
    Worker,
    Workers,
)

T = TypeVar("T")

NOW = 1_700_000_000.0

UP = Reachability(dict.fromkeys(Layer, True), None, 0.0012)
DOWN = Reachability(
    {Layer.TRANSPORT: True, Layer.ENGINE: False, Layer.BUILDKIT: False},
    Failure(Layer.ENGINE, Reason.PERMISSION, "no right"),
    None,
)
FARM0 = Worker(
    Builder("farm0", Driver.CONTAINER, container="c0"),
    "v0.32.2",
    (BuilderPlatform("linux/amd64", False), BuilderPlatform("linux/arm64", True)),
    60_000_000_000,
)
DOCKER = Worker(
    Builder("docker", Driver.DOCKER, selected=False),
    "v0.25.1",
    (BuilderPlatform("linux/amd64", False),),
    None,
)
ENGINE = EngineInfo("28.5.2", "1.51", "linux", "amd64", "/var/lib/docker")
DISK = Disk("/var/lib/docker", 1000, 400, 100, 40, full_at=NOW + 3600)


BUILDS = Builds(
    "farm0", told=True, running=1, counts=BuildCounts().plus(Build("a", 7.5, False, 6, 2))
)


def cache(builder: str, size: int = 30) -> Cache:
    """A cache of two types of records."""
    return Cache(
        builder=builder,
        at=NOW,
        types={"regular": CacheType(size, 3), "source.local": CacheType(12, 1)},
        reclaimable=size,
        in_use=12,
        shared=5,
        idle={"1d": 20, "7d": 10, "30d": 0},
    )


def learned(value: T) -> Learned[T]:
    """A value that was learned just now."""
    return Learned(value, NOW)


def known(name: str = "amd64-1", reachability: Reachability = UP) -> Snapshot:
    """All that can be known of a node."""
    return Snapshot(
        NodeSpec(name, SshEndpoint("n1.example.com"), platforms=("linux/amd64", "linux/riscv64")),
        connects=3,
        reachability=learned(reachability),
        workers=learned(Workers(ENGINE, (DOCKER, FARM0))),
        disk=learned(DISK),
        cache=learned((cache("docker"), cache("farm0", 300))),
        orphans=learned(Orphans(("buildx_buildkit_old0_state",), 7)),
        builds=learned((Builds("docker", told=False), BUILDS)),
        certificates=learned(Certificates(NOW + 86400, NOW + 2 * 86400)),
        collectors={"disk": CollectorState(True, 0.25, NOW, 2)},
    )
