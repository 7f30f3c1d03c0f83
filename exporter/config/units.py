"""Sizes and durations as people write them in the configuration file.

A size is bytes (``10GB``, ``512MiB``, ``4096B``) or a share of a filesystem (``15%``). ``kB`` to
``PB`` count in thousands, ``KiB`` to ``PiB`` in 1024s. A duration is written as in Prometheus:
``15s``, ``2m``, ``1h30m``, ``7d``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

BYTES_PATTERN = r"\d+(\.\d+)? ?([kKmMgGtTpP]i?)?[bB]"
SHARE_PATTERN = r"\d+(\.\d+)? ?%"
DURATION_PATTERN = r"(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"

_BYTES = {
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", start=1)},
}
# Largest first; the spelling is the one that is written back.
_SPELLINGS = sorted(
    (
        (factor, {"kb": "kB", "kib": "KiB"}.get(unit, unit.upper().replace("I", "i")))
        for unit, factor in _BYTES.items()
    ),
    reverse=True,
)
_MILLISECONDS = {
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?i?b|%)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_DURATION_PART = re.compile(r"(\d+)(ms|[wdhms])", re.ASCII)
# Beyond these nothing real is meant, and floats and 64-bit integers stop being exact.
_MOST_BYTES = 2**63 - 1
_MOST_MILLISECONDS = 100 * 365 * _MILLISECONDS["d"]


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, or a share of a filesystem in percent: exactly one of the two is set."""

    bytes: int | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        if (self.bytes is None) == (self.percent is None):
            raise ValueError("a size is either bytes or a share")

    @property
    def is_share(self) -> bool:
        """Whether the size depends on how large the filesystem is."""
        return self.percent is not None

    @property
    def number(self) -> float:
        """The bytes or the percent: for comparing two sizes of the same kind."""
        return self.bytes if self.bytes is not None else self.percent or 0.0

    def __str__(self) -> str:
        return format_size(self)


def parse_size(value: object, units: Sequence[str] = ("GB", "MiB", "%")) -> Size:
    """Read a size. Only nothing (``0``) goes without a unit; ``units`` are then proposed.

    Raises:
        ValueError: with a sentence that says how to write one.
    """
    if isinstance(value, Size):
        return value
    text = str(value).strip() if isinstance(value, str | int) else ""
    match = _SIZE.fullmatch(text)
    unit = (match[2] or "").lower() if match else ""
    fraction_of_byte = match is not None and "." in match[1] and unit in {"", "b"}
    if isinstance(value, bool) or match is None or unit == "ib" or fraction_of_byte:
        raise ValueError(f"{_shown(value)} is not a size; write 10GB, 512MiB or 15%")
    number = Decimal(match[1])
    if not unit and number:
        raise ValueError(f"{_shown(value)} has no unit; write {_with_units(number, units)}")
    if unit == "%":
        if number > 100:
            raise ValueError(f"{_shown(value)} is more than the whole filesystem; write 15%")
        return Size(percent=float(number))
    count = int(number * _BYTES[unit or "b"])
    if count > _MOST_BYTES:
        raise ValueError(f"{_shown(value)} is larger than any disk")
    return Size(bytes=count)


def format_size(size: Size) -> str:
    """Write a size so that :func:`parse_size` reads the same one: ``15%``, ``20GB``, ``1001B``."""
    if size.bytes is None:
        number = format(Decimal(repr(size.percent)), "f")
        return f"{number.rstrip('0').rstrip('.') if '.' in number else number}%"
    for factor, unit in _SPELLINGS:
        if size.bytes and size.bytes % factor == 0:
            return f"{size.bytes // factor}{unit}"
    return f"{size.bytes}B"


_NOTHING = re.compile(r"0+(ms|s|m|h|d|w)")


def parse_delay(value: object) -> float:
    """Read a duration that may be nothing: ``0s``. Returns seconds.

    Raises:
        ValueError: with a sentence that says how to write one.
    """
    if isinstance(value, str) and _NOTHING.fullmatch(value.strip()):
        return 0.0
    return parse_duration(value)


def parse_duration(value: object) -> float:
    """Read a duration. Returns seconds, always more than zero.

    Raises:
        ValueError: with a sentence that says how to write one.
    """
    text = value.strip() if isinstance(value, str) else ""
    if not text or not _DURATION.fullmatch(text):
        raise ValueError(f"{_shown(value)} is not a duration; {_instead(value)}")
    parts = _DURATION_PART.findall(text)
    milliseconds = sum(int(number) * _MILLISECONDS[unit] for number, unit in parts)
    if milliseconds == 0:
        raise ValueError(f"{_shown(value)} is no time at all; write 15s, 2m, 6h or 7d")
    if milliseconds > _MOST_MILLISECONDS:
        raise ValueError(f"{_shown(value)} is longer than a century")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Write a duration (to the millisecond) so that :func:`parse_duration` reads the same one."""
    rest = round(seconds * 1000)
    text = ""
    for unit, factor in _MILLISECONDS.items():
        # `7d` is what people write, not `1w`.
        if unit != "w" and rest >= factor:
            text += f"{rest // factor}{unit}"
            rest %= factor
    return text


def _instead(value: object) -> str:
    number = str(value)
    if not isinstance(value, bool) and re.fullmatch(r"[1-9]\d*", number, re.ASCII):
        return f"write {number}s for {number} second" + "s" * (number != "1")
    return "write 15s, 2m, 6h or 7d"


def _with_units(number: Decimal, units: Sequence[str]) -> str:
    *others, last = (f"{number}{unit}" for unit in units if unit != "%" or number <= 100)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: object) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return f"'{value}'"
    return "that"
