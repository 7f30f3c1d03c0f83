"""What is known of canary builds: plain frozen data.

Sizes are bytes, durations seconds, points in time seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CANARY_PREFIX = "buildfarm-canary-"
"""A canary build's reference begins so; so do the marks in what it leaves in a cache."""

CANARY_ARGUMENT = "BUILDFARM_CANARY"
"""The build argument that tells a canary of ``docker buildx`` from users' builds."""

CanaryKey = tuple[str, str, str]
"""A node's name, the name of a builder on it, and a platform."""


class Step(StrEnum):
    """A part of a canary build: the values of the label ``step``."""

    PULL = "pull"
    """Getting the base image."""
    CPU = "cpu"
    """Hashing."""
    DISK = "disk"
    """Writing a file, and fsync."""
    EXPORT = "export"
    """Making an image of the result."""


class CanaryOutcome(StrEnum):
    """How a canary build ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    """Not done in time, and so cancelled."""
    MISSING = "missing"
    """The builder does not offer the expected platform, not even emulated. Nothing was built."""
    SKIPPED = "skipped"
    """Nothing was built, for a reason that is not the builder's: it is busy, the disk is low."""


class CanaryTrigger(StrEnum):
    """Why a canary build ran."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class StepTime:
    """How long a step took, by BuildKit's own clock."""

    seconds: float
    bytes: int | None = None
    """How much it worked on; ``None``: not known, so there is no throughput."""
    cached: bool = False
    """It was there already: the time says nothing of the builder."""

    @property
    def throughput(self) -> float | None:
        """Bytes per second, where that says something."""
        return self.bytes / self.seconds if self.bytes and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class CanaryRecord:
    """One canary build of one platform on one builder, or why there was none."""

    id: str
    node: str
    builder: str
    platform: str
    emulated: bool
    trigger: CanaryTrigger
    outcome: CanaryOutcome
    started_at: float
    finished_at: float
    steps: Mapping[Step, StepTime] = field(default_factory=dict)
    detail: str | None = None
    """For people: what failed, or why nothing was built."""

    @property
    def key(self) -> CanaryKey:
        """The builder and platform it is about."""
        return self.node, self.builder, self.platform

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.finished_at - self.started_at

    @property
    def success(self) -> bool | None:
        """Whether it built. ``None``: it was skipped, so nobody knows."""
        return None if self.outcome is CanaryOutcome.SKIPPED else self.outcome is CanaryOutcome.OK


@dataclass(frozen=True, slots=True)
class MultiarchRun:
    """One of the two ``docker buildx build`` of a multi-architecture canary."""

    seconds: float
    nodes: Mapping[str, str]
    """By platform, the buildx node that built it."""
    steps: int
    """Of the second run, only those of platforms that came to another node than before."""
    cached: int


@dataclass(frozen=True, slots=True)
class MultiarchRecord:
    """One canary build over the whole farm, as its users build."""

    id: str
    builder: str
    """The buildx builder."""
    trigger: CanaryTrigger
    outcome: CanaryOutcome
    started_at: float
    finished_at: float
    first: MultiarchRun | None = None
    """Builds anew, pushes the image and the cache."""
    second: MultiarchRun | None = None
    """Builds the same on other nodes, from the shared cache.
    ``None``: it was not got to, no cache is configured, or there are no other nodes."""
    across_nodes: bool | None = None
    """Whether a platform has a second node, on which the second run built it."""
    pushed: tuple[str, ...] = ()
    """The platforms in the image index at the registry."""
    detail: str | None = None

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return self.finished_at - self.started_at
