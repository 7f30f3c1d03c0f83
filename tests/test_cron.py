"""Reading schedules as crontab(5) has them."""

from __future__ import annotations

import pytest

from exporter.cron import Cron, parse

EVERY_DAY = frozenset(range(1, 32))
EVERY_MONTH = frozenset(range(1, 13))
ANY_WEEKDAY = frozenset(range(7))


def cron(minutes: set[int], hours: set[int], **more: object) -> Cron:
    values = {
        "days": EVERY_DAY,
        "months": EVERY_MONTH,
        "weekdays": ANY_WEEKDAY,
        "either_day": False,
        **more,
    }
    return Cron(frozenset(minutes), frozenset(hours), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 */6 * * *", cron({0}, {0, 6, 12, 18})),
        ("5,35 1-3 * * *", cron({5, 35}, {1, 2, 3})),
        ("50/5 0 * * *", cron({50, 55}, {0})),
        ("10-20/5 0 * * *", cron({10, 15, 20}, {0})),
        ("0 0 * jan,DEC *", cron({0}, {0}, months=frozenset({1, 12}))),
        # Sunday has two numbers and a name.
        ("0 0 * * 0", cron({0}, {0}, weekdays=frozenset({0}))),
        ("0 0 * * 7", cron({0}, {0}, weekdays=frozenset({0}))),
        ("0 0 * * Sun", cron({0}, {0}, weekdays=frozenset({0}))),
        ("0 0 * * 5-7", cron({0}, {0}, weekdays=frozenset({5, 6, 0}))),
        ("0 0 * * */2", cron({0}, {0}, weekdays=frozenset({0, 2, 4, 6}))),
        ("@hourly", cron({0}, set(range(24)))),
        ("@weekly", cron({0}, {0}, weekdays=frozenset({0}))),
        ("@yearly", cron({0}, {0}, days=frozenset({1}), months=frozenset({1}))),
        # Either of two days is enough, unless one begins with a star.
        (
            "0 0 13 * 5",
            cron({0}, {0}, days=frozenset({13}), weekdays=frozenset({5}), either_day=True),
        ),
        (
            "0 0 */16 * 5",
            cron({0}, {0}, days=frozenset({1, 17}), weekdays=frozenset({5})),
        ),
    ],
)
def test_what_a_schedule_names(text: str, found: Cron) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 */6 * *", "'0 */6 * *' has 4 of the 5 fields of a cron schedule"),
        ("@reboot", "'@reboot' has 1 of the 5 fields of a cron schedule"),
        ("60 0 * * *", "'60' is no minute of a cron schedule"),
        ("0 24 * * *", "'24' is no hour of a cron schedule"),
        ("0 0 0 * *", "'0' is no day of the month of a cron schedule"),
        ("0 0 * 13 *", "'13' is no month of a cron schedule"),
        ("0 0 * * 8", "'8' is no day of the week of a cron schedule"),
        ("0 0 * * fri-mon", "'fri-mon' is no day of the week of a cron schedule"),
        ("*/0 0 * * *", "'*/0' is no minute of a cron schedule"),
        ("1,,2 0 * * *", "'1,,2' is no minute of a cron schedule"),
        ("1- 0 * * *", "'1-' is no minute of a cron schedule"),
        ("5/ 0 * * *", "'5/' is no minute of a cron schedule"),
        ("² 0 * * *", "'²' is no minute of a cron schedule"),
    ],
)
def test_what_is_no_schedule(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="write '0") as caught:
        parse(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("* * * * *", 60), ("*/15 * * * *", 900), ("0,50 * * * *", 600), ("7 0 * * *", 3600)],
)
def test_the_least_gap(text: str, seconds: int) -> None:
    """An hour at the most: which hours follow each other is not looked at."""
    assert parse(text).least_gap == seconds


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("0 0 30 2 *", True),
        ("0 0 31 4,6,sep,11 *", True),
        ("0 0 30 2 */2", True),
        ("0 0 29 2 *", False),
        ("0 0 30,31 2,4 *", False),
        ("0 0 30 2 1", False),  # each Monday in February
    ],
)
def test_a_day_that_never_comes(text: str, never: bool) -> None:
    assert parse(text).never == never
