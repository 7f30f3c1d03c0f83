"""When canaries are due: crontab's days, clocks that are changed, runs that were missed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from freezegun import freeze_time

from exporter.actions import calendar
from exporter.actions.calendar import START_DELAY, Calendar, first_run, trigger
from exporter.model import CanarySettings

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Least(Random):
    """Chance at its least: nothing comes late."""

    def random(self) -> float:
        return 0.0


class Most(Random):
    """Chance at its most."""

    def random(self) -> float:
        return 1.0 - 1e-9


def cron(schedule: str) -> CanarySettings:
    return CanarySettings(schedule=schedule, every=None)


def times(schedule: str, start: datetime, number: int, rng: Random | None = None) -> list[str]:
    """The first times of a schedule in Berlin."""
    found = trigger(cron(schedule), rng or Least(), BERLIN)
    seen: list[datetime] = []
    due = found.get_next_fire_time(None, start.astimezone(UTC))
    while due is not None and len(seen) < number:
        seen.append(due)
        due = found.get_next_fire_time(due, due)
    return [moment.astimezone(UTC).astimezone(BERLIN).strftime("%a %m-%d %H:%M") for moment in seen]


def berlin(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("0 */6 * * *", berlin(6, 1, 5), ["Mon 06-01 06:00", "Mon 06-01 12:00"]),
        ("30 3 1 * *", berlin(6, 2), ["Wed 07-01 03:30", "Sat 08-01 03:30"]),
        ("@weekly", berlin(6, 1), ["Sun 06-07 00:00", "Sun 06-14 00:00"]),
        ("0 0 * * 0", berlin(6, 1), ["Sun 06-07 00:00", "Sun 06-14 00:00"]),
        ("0 0 * * 7", berlin(6, 1), ["Sun 06-07 00:00", "Sun 06-14 00:00"]),
        ("0 0 * * 1", berlin(6, 2), ["Mon 06-08 00:00", "Mon 06-15 00:00"]),
        ("0 9 * * mon-fri", berlin(6, 5), ["Fri 06-05 09:00", "Mon 06-08 09:00"]),
        # Either day is enough where both are named …
        ("0 0 13 * fri", berlin(6, 8), ["Fri 06-12 00:00", "Sat 06-13 00:00"]),
        # … but not where one begins with a star: the 1st, 11th, 21st, 31st, if a Thursday.
        ("0 0 */10 * thu", berlin(6, 1), ["Thu 06-11 00:00", "Thu 10-01 00:00"]),
        ("0 0 29 feb *", berlin(6, 1), ["Tue 02-29 00:00"]),
    ],
)
def test_days_as_in_crontab(schedule: str, start: datetime, expected: list[str]) -> None:
    assert times(schedule, start, len(expected)) == expected


def test_an_hour_that_is_left_out() -> None:
    """On March 29 clocks go from 2 to 3: what would have been then comes an hour later, once."""
    assert times("30 2 * * *", berlin(3, 28), 3) == [
        "Sat 03-28 02:30",
        "Sun 03-29 03:30",
        "Mon 03-30 02:30",
    ]


def test_an_hour_that_comes_twice() -> None:
    """On October 25 clocks go back from 3 to 2: times in that hour come twice, others once."""
    assert times("30 2,4 * * *", berlin(10, 25), 4) == [
        "Sun 10-25 02:30",
        "Sun 10-25 02:30",
        "Sun 10-25 04:30",
        "Mon 10-26 02:30",
    ]


@pytest.mark.parametrize(
    ("schedule", "latest"), [("0 */6 * * *", 59), ("*/15 * * * *", 26), ("* * * * *", 1)]
)
def test_comes_late_by_a_few_percent(schedule: str, latest: int) -> None:
    """So that not all nodes start together, but never so late that it is the next minute."""
    start = datetime(2026, 6, 1, 0, 0, 1, tzinfo=UTC)
    found = trigger(cron(schedule), Most(), UTC).get_next_fire_time(None, start)
    assert found is not None
    assert found.second == latest


EVERY = CanarySettings(every=3600.0)
SIX = cron("0 */6 * * *")
"""Due at noon, as seen from :data:`NOW`; before that at 6."""


@pytest.mark.parametrize(
    ("settings", "last", "first"),
    [
        # Never ran: soon, or at the next time that the schedule names.
        (EVERY, None, START_DELAY),
        (SIX, None, 6 * 3600 - 60),
        # Ran, and nothing was missed since.
        (EVERY, -600, 3000),
        (SIX, -30, 6 * 3600 - 60),
        # Was missed: at once.
        (EVERY, -3601, 0),
        (EVERY, -30 * 86400, 0),
        (SIX, -3600, 0),
        (SIX, -30 * 86400, 0),
        # Noted under a clock that was put back since.
        (EVERY, 86400, START_DELAY),
        (SIX, 86400, 6 * 3600 - 60),
    ],
)
def test_the_first_run_after_a_start(
    settings: CanarySettings, last: float | None, first: float
) -> None:
    """A minute after noon. ``last`` and ``first`` are seconds from then."""
    now = NOW.timestamp() + 60
    found = first_run(
        trigger(settings, Least(), UTC),
        settings,
        None if last is None else now + last,
        now,
        Least(),
    )
    assert found == now + first


def test_a_first_run_is_spread_as_well() -> None:
    found = first_run(trigger(EVERY, Most(), UTC), EVERY, None, 0.0, Most())
    assert found == pytest.approx(START_DELAY + 60)


def test_a_day_that_never_comes() -> None:
    """It is told, and nothing is ever due."""
    never = cron("0 0 31 feb *")
    assert first_run(trigger(never, Least(), UTC), never, None, NOW.timestamp(), Least()) is None
    Calendar(UTC).add("n1", never, lambda: None, last=None, now=NOW.timestamp())


class Clock:
    """A calendar under a clock that stands still until it is told to go on."""

    def __init__(self, move_to: Callable[[datetime], None], last: float | None) -> None:
        self.move_to = move_to
        self.runs: list[str] = []
        self.calendar = Calendar(UTC)
        now = datetime.now(UTC).timestamp()
        self.calendar.add("n1", EVERY, self._run, last=last, now=now)

    def _run(self) -> None:
        self.runs.append(datetime.now(UTC).strftime("%H:%M:%S"))

    async def advance(self, to: datetime) -> list[str]:
        """Go on to a time; the runs since the last time."""
        self.move_to(to)
        self.calendar._scheduler.wakeup()
        for _ in range(5):
            await asyncio.sleep(0)
        found, self.runs = self.runs, []
        return found


async def test_runs_every_hour() -> None:
    with freeze_time(NOW, real_asyncio=True) as moment:
        clock = Clock(moment.move_to, NOW.timestamp() - 60)
        clock.calendar.start()
        assert await clock.advance(NOW + timedelta(minutes=58)) == []
        assert await clock.advance(NOW + timedelta(minutes=59)) == ["12:59:00"]
        assert await clock.advance(NOW + timedelta(minutes=118)) == []
        assert await clock.advance(NOW + timedelta(minutes=119)) == ["13:59:00"]
        await clock.calendar.stop()


async def test_what_was_slept_through_is_made_up_once() -> None:
    """However long it was, and then it goes on as before."""
    with freeze_time(NOW, real_asyncio=True) as moment:
        clock = Clock(moment.move_to, NOW.timestamp() - 60)
        clock.calendar.start()
        assert await clock.advance(NOW + timedelta(days=3)) == ["12:00:00"]
        assert await clock.advance(NOW + timedelta(days=3, minutes=58)) == []
        assert await clock.advance(NOW + timedelta(days=3, minutes=59)) == ["12:59:00"]
        await clock.calendar.stop()


async def test_what_was_missed_before_the_start_is_made_up_once() -> None:
    with freeze_time(NOW, real_asyncio=True) as moment:
        clock = Clock(moment.move_to, NOW.timestamp() - 5 * 3600)
        clock.calendar.start()
        assert await clock.advance(NOW) == ["12:00:00"]
        assert await clock.advance(NOW + timedelta(minutes=59)) == []
        assert await clock.advance(NOW + timedelta(minutes=60)) == ["13:00:00"]
        await clock.calendar.stop()


async def test_nothing_comes_after_the_end() -> None:
    with freeze_time(NOW, real_asyncio=True) as moment:
        clock = Clock(moment.move_to, NOW.timestamp() - 60)
        clock.calendar.start()
        await clock.calendar.stop()
        assert not clock.calendar._scheduler.running
        moment.move_to(NOW + timedelta(days=1))
        await asyncio.sleep(0.01)
        assert clock.runs == []


def test_the_second_is_a_node_s_own_after_each_restart() -> None:
    """Else a restart between two of them would build twice in one minute."""

    def first(name: str) -> datetime:
        calendar = Calendar(UTC)
        calendar.add(name, SIX, lambda: None, last=None, now=NOW.timestamp())
        (job,) = calendar._scheduler.get_jobs()
        moment: datetime = job.next_run_time
        return moment

    assert first("n1") == first("n1")
    assert len({first(f"n{number}") for number in range(5)}) > 1


def test_a_time_zone_that_is_said_twice_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library's file counts then."""

    def contradiction() -> None:
        raise ZoneInfoNotFoundError("Multiple conflicting time zone configurations found")

    monkeypatch.setattr(calendar, "get_localzone", contradiction)
    offset = datetime.fromtimestamp(0, calendar.local_zone()).utcoffset()
    assert offset == datetime.fromtimestamp(0).astimezone().utcoffset()
