"""Schedules as in crontab(5): from their text to the minutes, hours and days that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_EXAMPLE = "write '0 */6 * * *'"
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_LONGEST = [0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
"""How many days a month has at the most."""
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, ["", *_MONTHS]),
    ("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """What the five fields of a schedule name."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    """Of the month."""
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    either_day: bool
    """One of the two kinds of day is enough: so it is when neither field begins with ``*``."""

    @property
    def never(self) -> bool:
        """Whether no month that it names has a day that it names."""
        return not self.either_day and min(self.days) > max(_LONGEST[m] for m in self.months)

    @property
    def least_gap(self) -> int:
        """The least seconds between two points in time that it names."""
        minutes = sorted(self.minutes)
        return 60 * min(second - first for first, second in pairwise([*minutes, minutes[0] + 60]))


def parse(text: str) -> Cron:
    """Read a schedule: five fields of numbers, names, ranges, steps and lists, or a name.

    :raises ValueError: saying what is wrong, if it is none.
    """
    fields = _NAMED.get(text.strip(), text).split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"'{text}' has {len(fields)} of the 5 fields of a cron schedule; {_EXAMPLE}"
        )
    found = []
    for field, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        parts = [_part(part.lower(), low, high, words) for part in field.split(",")]
        if not all(parts):
            raise ValueError(f"'{field}' is no {name} of a cron schedule; {_EXAMPLE}")
        found.append(frozenset(number for part in parts for number in part))
    minutes, hours, days, months, weekdays = found
    either_day = not any(fields[place].startswith("*") for place in (2, 4))
    return Cron(minutes, hours, days, months, frozenset(d % 7 for d in weekdays), either_day)


def _part(text: str, low: int, high: int, words: list[str]) -> range:
    """The numbers of ``*``, ``3``, ``3-9``, each perhaps with ``/step``. Empty: it is none."""
    span, slash, step = text.partition("/")
    if slash and not (re.fullmatch(r"\d{1,3}", step, re.ASCII) and int(step) > 0):
        return range(0)
    first, dash, last = (low, "-", high) if span == "*" else span.partition("-")
    start = _number(first, words)
    # A single number with a step goes on to the end.
    end = _number(last, words) if dash else high if slash else start
    if start is None or end is None or not low <= start <= end <= high:
        return range(0)
    return range(start, end + 1, int(step or 1))


def _number(text: str | int, words: list[str]) -> int | None:
    if isinstance(text, int):
        return text
    if text and text in words:
        return words.index(text)
    return int(text) if re.fullmatch(r"\d{1,2}", text, re.ASCII) else None
