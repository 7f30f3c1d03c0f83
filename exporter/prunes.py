"""What is decided and known of prunes: plain frozen data.

Sizes are bytes, points in time seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

BuilderKey = tuple[str, str]
"""A node's name and the name of a builder on it."""

LEASE = 60.0
"""Seconds after which a running prune that nobody reports on counts as interrupted. Also how much
the clocks of two processes may differ: what is further ahead was written under a wrong clock."""


class Trigger(StrEnum):
    """What made a prune due: the values of the label ``trigger``."""

    CACHE = "cache"
    DISK = "disk"
    INODES = "inodes"
    FORECAST = "forecast"
    MANUAL = "manual"


class Verdict(StrEnum):
    """What the policy says of a builder at this moment."""

    PRUNE = "prune"
    WAIT_BUILDS = "wait_builds"
    """Due, but builds run."""
    WAIT_TURN = "wait_turn"
    """Due, but another prune runs on the node, or on too many nodes of its platforms."""
    COOLDOWN = "cooldown"
    """Due, but the last prune is too recent."""
    NOTHING_TO_FREE = "nothing_to_free"
    """Due, but the space is not the cache's: what BuildKit may free is below ``keep_storage``."""
    REFUSED = "refused"
    """The settings make no sense on this filesystem."""
    STALE = "stale"
    """Too little is known of the node now."""
    FINE = "fine"
    """No threshold is passed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy wants for one builder, and why, in a sentence for people."""

    node: str
    builder: str
    verdict: Verdict
    reason: str
    trigger: Trigger | None = None
    critical: bool = False
    """True: builds are not waited for."""
    keep: int = 0
    """What the cache is shrunk to. Meaningful with a trigger only, and then more than zero."""

    @property
    def key(self) -> BuilderKey:
        """The builder it is about."""
        return self.node, self.builder


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """One prune of one builder, as it is asked of BuildKit."""

    trigger: Trigger
    reason: str
    keep: int
    """Bytes to keep. Zero empties the cache, and is only taken with ``empty``."""
    all: bool = False
    """Internal and frontend records too."""
    filters: tuple[str, ...] = ()
    empty: bool = False
    """The user asked, in so many words, for an empty cache."""

    def __post_init__(self) -> None:
        if self.keep < 0 or (self.keep == 0) is not self.empty:
            raise ValueError("a prune that keeps nothing must be asked for as such")


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured around a prune. ``None``: it could not be."""

    cache: int | None = None
    """Bytes of all records."""
    available: int | None = None
    """Bytes of the filesystem free to unprivileged users."""
    inodes_free: int | None = None


class Outcome(StrEnum):
    """How a prune ended."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Nobody waited for its end: the exporter was stopped or killed."""
    DRY_RUN = "dry_run"
    """Decided and told, not done."""


@dataclass(frozen=True, slots=True)
class PruneRecord:
    """One prune, from its start on. Every decision that acted has one."""

    id: str
    node: str
    builder: str
    trigger: Trigger
    reason: str
    keep: int
    all: bool
    started_at: float
    seen_at: float
    """When whoever runs it last said so. Long ago and still running: it was interrupted."""
    outcome: Outcome = Outcome.RUNNING
    finished_at: float | None = None
    before: Measure = Measure()
    after: Measure = Measure()
    reclaimed: int = 0
    """Bytes of the records that BuildKit said it removed."""
    records: int = 0
    escalated: bool = False
    """The first pass freed too little, so internal and frontend records were pruned too."""
    effective: bool | None = None
    """Whether the trigger was gone afterwards. ``None``: there was none, or it is not known."""
    stalled: bool = False
    """BuildKit was silent for long in the middle."""
    note: str | None = None
    """What people should know of it: an error, or whose the space is."""

    @property
    def key(self) -> BuilderKey:
        """The builder it is about."""
        return self.node, self.builder

    @property
    def duration(self) -> float | None:
        """Seconds from start to end."""
        return None if self.finished_at is None else self.finished_at - self.started_at

    @property
    def ended_at(self) -> float:
        """When it ended, or was last known to run."""
        return self.seen_at if self.finished_at is None else self.finished_at

    def runs(self, now: float) -> bool:
        """Whether it goes on, as far as somebody said not long ago."""
        return self.outcome is Outcome.RUNNING and abs(now - self.seen_at) <= LEASE


Latest = Mapping[BuilderKey, PruneRecord]
"""The latest prune of each builder."""
