"""What is known of the builds that users run: plain frozen data.

Durations are seconds, points in time seconds since the epoch.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""Upper bounds of the histogram of durations; one more bucket holds what is longer."""


@dataclass(frozen=True, slots=True)
class Build:
    """A build that ended."""

    ref: str
    """BuildKit's name for it, never given twice."""
    duration: float
    failed: bool
    """Also one that was cancelled."""
    steps: int
    cached: int
    """How many of the steps were in the cache."""


@dataclass(frozen=True, slots=True)
class BuildCounts:
    """Builds of one builder, added up since they were first followed."""

    total: int = 0
    failed: int = 0
    steps: int = 0
    cached: int = 0
    duration_sum: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)
    """How many builds fall into each bucket, not added up; the last one has no upper bound."""

    def plus(self, build: Build) -> BuildCounts:
        """The same with one more build."""
        place = bisect_left(BUCKETS, build.duration)
        buckets = (*self.buckets[:place], self.buckets[place] + 1, *self.buckets[place + 1 :])
        return replace(
            self,
            total=self.total + 1,
            failed=self.failed + build.failed,
            steps=self.steps + build.steps,
            cached=self.cached + build.cached,
            duration_sum=self.duration_sum + build.duration,
            buckets=buckets,
        )


@dataclass(frozen=True, slots=True)
class Builds:
    """The builds of one builder. Canary builds are not among them."""

    builder: str
    told: bool
    """False: it keeps no history (BuildKit before 0.11, Engine before 24.0), nothing is known."""
    running: int = 0
    counts: BuildCounts = BuildCounts()
