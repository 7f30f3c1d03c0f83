"""When a disk will be full."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from exporter.forecast import Sample, fill_rate, full_at, remember

SIZE = 100_000_000
INTERVAL = 30.0
HOUR = 3600.0
START = 1_800_000_000.0


def watched(
    available: Callable[[float], float], hours: float, start: float = START
) -> tuple[Sample, ...]:
    """The samples after looking at a disk for so long; ``available`` by seconds from the start."""
    samples: tuple[Sample, ...] = ()
    for look in range(int(hours * HOUR / INTERVAL) + 1):
        seconds = look * INTERVAL
        samples = remember(samples, start + seconds, int(available(seconds)), INTERVAL)
    return samples


@pytest.mark.parametrize("rate", [100, 137, 2000])
def test_steady_filling_is_exact(rate: int) -> None:
    samples = watched(lambda t: SIZE - rate * t, 3)
    assert fill_rate(samples, SIZE) == pytest.approx(rate)
    left = SIZE - rate * 3 * HOUR
    now = START + 3 * HOUR
    assert full_at(samples, SIZE, now, int(left)) == pytest.approx(now + left / rate, abs=1)


@pytest.mark.parametrize("period", [1200, 3000, 7000])
def test_prunes_in_between_do_not_slow_it_down(period: int) -> None:
    """A saw-tooth: what counts is how fast it fills between the prunes."""
    samples = watched(lambda t: SIZE - 2000 * (t % period), 6)
    assert fill_rate(samples, SIZE) == pytest.approx(2000, rel=0.1)


def test_files_that_a_build_makes_and_removes_do_not_count() -> None:
    samples = watched(lambda t: SIZE - 100 * t - (t % 300 < 240) * 9_000_000, 4)
    assert fill_rate(samples, SIZE) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    "available",
    [
        lambda t: SIZE / 2,
        lambda t: SIZE / 2 + t,
        # So slowly that it would take more than a month.
        lambda t: SIZE / 2 - t,
        # A clean-up, and nothing else.
        lambda t: SIZE / 2 if t < HOUR else SIZE * 0.9,
    ],
)
def test_disk_that_does_not_fill(available: Callable[[float], float]) -> None:
    samples = watched(available, 4)
    now, left = samples[-1]
    assert full_at(samples, SIZE, now, left) is None


def test_too_little_is_known_at_first() -> None:
    samples = watched(lambda t: SIZE - 2000 * t, 0.33)
    assert fill_rate(samples, SIZE) is None
    assert full_at(samples, SIZE, START, 1) is None
    assert fill_rate((), SIZE) is None


def test_full_disk_is_full_now() -> None:
    samples = watched(lambda t: max(SIZE - 20_000 * t, 0), 1)
    assert full_at(samples, SIZE, START + HOUR, 0) == START + HOUR


def test_old_samples_are_forgotten() -> None:
    """What counts is the last six hours: before, it filled ten times as fast."""
    samples = watched(lambda t: SIZE - min(t, 7200) * 1000 - max(t - 7200, 0) * 100, 9)
    assert len(samples) == 72
    assert fill_rate(samples, SIZE) == pytest.approx(100)


def test_clock_put_back_starts_anew() -> None:
    samples = watched(lambda t: SIZE - 2000 * t, 1)
    assert remember(samples, START - 86400, 5, INTERVAL) == ((START - 86400, 5),)


def test_forecast_follows_the_clock() -> None:
    """An hour later, at the same pace, the disk is still full at the same time."""
    said = []
    with freeze_time("2027-01-31") as clock:
        start = clock().timestamp()
        for _ in range(2):
            clock.tick(HOUR)
            now = clock().timestamp()
            samples = watched(lambda t: SIZE - 2000 * t, (now - start) / HOUR, start)
            said.append(full_at(samples, SIZE, now, int(SIZE - 2000 * (now - start))))
    assert said[0] == pytest.approx(start + SIZE / 2000, abs=1)
    assert said[1] == pytest.approx(said[0], abs=1)


looks = st.lists(st.tuples(st.floats(-10_000, 10_000), st.integers(0, SIZE)), max_size=120)


@given(looks, st.floats(1, 600))
def test_samples_are_few_and_in_order(story: list[tuple[float, int]], interval: float) -> None:
    samples: tuple[Sample, ...] = ()
    now = START
    for step, available in story:
        now += step
        samples = remember(samples, now, available, interval)
        times = [at for at, _ in samples]
        assert len(samples) <= 72
        assert times == sorted(set(times))
        assert times[-1] <= now
        end = full_at(samples, SIZE, now, available)
        assert end is None or now <= end <= now + 31 * 86400


@given(st.integers(0, SIZE), st.integers(1, 1000), st.integers(4, 70))
def test_any_straight_line_is_met(start: int, rate: int, number: int) -> None:
    samples = [(START + 300 * n, start - 300 * n * rate) for n in range(number + 1)]
    assert fill_rate(samples, SIZE) == pytest.approx(rate)
