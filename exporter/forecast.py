"""When a disk will be full, from how it filled so far.

Pure: samples in, a point in time out. A prune, a build's temporary files or somebody's clean-up
make the free space jump up; what matters is how fast it falls in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Sample = tuple[float, int]
"""Seconds since the epoch, and bytes available then."""

BUCKET_LOOKS = 10
"""One sample is kept for so many looks at the disk: the one with the most space, so that files
which a build makes and removes again do not count."""

_BUCKETS = 72
_ENOUGH = 4
_JUMP = 0.01
_HORIZON = 30 * 86400.0


def remember(
    samples: Sequence[Sample], now: float, available: int, interval: float
) -> tuple[Sample, ...]:
    """Add what was seen ``now`` to the samples. ``interval``: seconds between two looks.

    At the default of 30 s a sample stands for 5 minutes and all of them for 6 hours.
    """
    if samples and now < samples[-1][0]:
        samples = ()  # the clock was put back
    width = interval * BUCKET_LOOKS
    if samples and now // width == samples[-1][0] // width:
        if available > samples[-1][1]:
            return (*samples[:-1], (now, available))
        return tuple(samples)
    return (*samples[-(_BUCKETS - 1) :], (now, available))


def fill_rate(samples: Sequence[Sample], size: int) -> float | None:
    """Return the bytes a second by which the disk fills; ``None`` as long as too little is known.

    A rise of more than a hundredth of the disk is a clean-up: that step counts neither as space
    nor as time. Negative when the disk empties.
    """
    # The last one may still rise: a build's files are there, and not yet gone.
    settled = samples[:-1]
    if len(settled) < _ENOUGH:
        return None
    used = seconds = 0.0
    for (then, before), (now, after) in pairwise(settled):
        if after - before <= size * _JUMP:
            used += before - after
            seconds += now - then
    return used / seconds if seconds > 0 else None


def full_at(samples: Sequence[Sample], size: int, now: float, available: int) -> float | None:
    """Return when the disk will be full if it goes on filling as it did.

    ``None`` when it does not fill, fills so slowly that it says nothing (over 30 days), or too
    little is known.
    """
    rate = fill_rate(samples, size)
    if rate is None or rate <= 0 or available / rate > _HORIZON:
        return None
    return now + available / rate
