"""Numbers and texts as people read them."""

from __future__ import annotations

import pytest

from exporter.words import count, day, duration, line, share, size

KIB = 1024


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (KIB**2 - 1, "1.0 MiB"),
        (KIB**2, "1.0 MiB"),
        (1.4 * KIB**3, "1.4 GiB"),
        (KIB**4, "1.0 TiB"),
        (3000 * KIB**4, "3000.0 TiB"),
        (-1536, "-1.5 KiB"),
    ],
)
def test_size(number: float, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (119, "1 min"),
        (720, "12 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (187_200, "2 d 4 h"),
        (187_260, "2 d 4 h"),
        (-30, "-30 s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(15, 100, "15 %"), (1, 3, "33 %"), (0, 5, "0 %"), (5, 0, "-")]
)
def test_share(part: float, whole: float, text: str) -> None:
    assert share(part, whole) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes")])
def test_count(number: int, text: str) -> None:
    assert count(number, "node") == text


@pytest.mark.parametrize(
    ("moment", "text"), [(1_801_353_599, "2027-01-30"), (1_801_353_600, "2027-01-31")]
)
def test_day(moment: float, text: str) -> None:
    assert day(moment) == text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("größer als\n\tdie  Platte \n", "größer als die Platte"),
        ("dd:\0 no \0 space", "dd: no space"),
        ("\x1b[2J\x1b]0;title\x07red\x9b31m\r\u202eback", "[2J]0;titlered31m back"),
        ("\ud800", ""),
    ],
)
def test_line(said: str, text: str) -> None:
    """Nothing is left in it that acts on a terminal, or that a database refuses."""
    assert line(said) == text
