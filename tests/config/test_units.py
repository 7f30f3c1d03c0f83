"""Sizes and durations: what is written is what is read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.units import (
    Size,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from exporter.model import Threshold


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_bytes_round_trip(count: int) -> None:
    """No byte is lost on the way to text and back."""
    assert parse_size(format_size(Size(bytes=count))) == Size(bytes=count)


@given(st.floats(min_value=0, max_value=100))
def test_shares_round_trip(percent: float) -> None:
    """Very small shares too, which Python would write with an exponent."""
    assert parse_size(format_size(Size(percent=percent))) == Size(percent=percent)


@given(st.integers(min_value=1, max_value=100 * 365 * 86_400_000))
def test_durations_round_trip(milliseconds: int) -> None:
    """To the millisecond, up to a century."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
@pytest.mark.parametrize("parse", [parse_size, parse_duration])
def test_anything_else_is_refused(parse: Callable[[object], object], value: object) -> None:
    """Whatever YAML can hold is read or refused, and never breaks the reader."""
    with contextlib.suppress(ValueError):
        parse(value)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5kB", 1500),
        ("2TiB", 2 * 2**40),
        ("4096B", 4096),
        ("0", 0),
    ],
)
def test_bytes_are_counted_in_thousands_or_1024s(text: str, count: int) -> None:
    assert parse_size(text) == Size(bytes=count)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("2m", 120), ("1h30m", 5400), ("7d", 604800), ("2w", 1209600), ("250ms", 0.25)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("seconds", "text"), [(604800, "7d"), (5400, "1h30m"), (0.25, "250ms")])
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("threshold", "of_100"),
    [(Threshold(bytes=30), 30), (Threshold(share=0.29), 29), (Threshold(share=1.0), 100)],
)
def test_a_threshold_in_bytes(threshold: Threshold, of_100: int) -> None:
    """A share follows the filesystem; 29% of 100 bytes is not 28, as floats alone would have it."""
    assert threshold.of(100) == of_100


@pytest.mark.parametrize("both", [(None, None), (1, 0.5)])
def test_a_threshold_is_one_of_two(both: tuple[int | None, float | None]) -> None:
    with pytest.raises(ValueError, match="either bytes or a share"):
        Threshold(*both)
