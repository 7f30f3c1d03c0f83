"""What a client wants."""

from __future__ import annotations

import pytest

from exporter.web.accept import accepts_gzip, favourites


@pytest.mark.parametrize(
    ("header", "gzip"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip ; q=0.3", True),
        ("*", True),
        ("identity;q=0.5, gzip", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=0.2, identity;q=0.8", False),
        ("gzip;q=much", False),
        ("xgzipx", False),
    ],
)
def test_gzip(header: str, gzip: bool) -> None:
    assert accepts_gzip(header) is gzip


@pytest.mark.parametrize(
    ("header", "best"),
    [
        ("", ""),
        ("text/plain", "text/plain"),
        ("a/b;version=1;q=0.6,c/d;q=0.5", "a/b;version=1;q=0.6"),
        ("a/b;q=0.1 , c/d; q=0.9", "c/d; q=0.9"),
        ("a/b,c/d,e/f;q=0.9", "a/b,c/d"),
        ("a/b;Q=0,c/d;q=0.1", "c/d;q=0.1"),
    ],
)
def test_favourites(header: str, best: str) -> None:
    assert favourites(header) == best
