"""When canary builds are due: on a schedule as in crontab(5), or every so many seconds.

APScheduler keeps the time. It only calls what is due; the work belongs to tasks of our own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from random import Random
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from tzlocal import get_localzone

from exporter.cron import Cron, parse

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

START_DELAY = 30.0
"""Seconds from the start to the first run of what runs at intervals and never ran before."""

_SPREAD_SHARE = 0.03
_SPREAD_MOST = 60.0


class Times(Protocol):
    """When something is due: exactly one of the two is set."""

    @property
    def schedule(self) -> str | None:
        """As in crontab(5), in the local time zone."""
        ...

    @property
    def every(self) -> float | None:
        """Seconds."""
        ...


class Trigger(Protocol):
    """One of APScheduler's triggers."""

    def get_next_fire_time(
        self, previous_fire_time: datetime | None, now: datetime
    ) -> datetime | None:
        """Return when it is due next; ``None``: never."""
        ...


def trigger(times: Times, rng: Random, zone: tzinfo) -> Trigger:
    """Make the trigger. By ``rng`` it comes a little late, so that not all come at once.

    Whoever wants the same times after a restart gives an ``rng`` of the same seed.
    """
    if times.schedule is None:
        interval: Trigger = IntervalTrigger(seconds=times.every, timezone=UTC)
        return interval
    cron = parse(times.schedule)
    second = int(rng.random() * _spread(cron.least_gap))
    triggers = [
        CronTrigger(
            month=_listed(cron.months),
            day=_listed(days),
            day_of_week=_listed((weekday - 1) % 7 for weekday in weekdays),  # from Monday on
            hour=_listed(cron.hours),
            minute=_listed(cron.minutes),
            second=second,
            timezone=zone,
        )
        for days, weekdays in _days(cron)
    ]
    found: Trigger = triggers[0] if len(triggers) == 1 else OrTrigger(triggers)
    return found


def first_run(
    of: Trigger, times: Times, last: float | None, now: float, rng: Random
) -> float | None:
    """Say when it is due for the first time after a start; ``None``: never.

    What was due since the ``last`` run is due at once, once. A last run in the future was noted
    under a wrong clock, and says nothing.
    """
    if last is None or last > now:
        if times.every is not None:
            return now + START_DELAY + rng.uniform(0, _spread(times.every))
        due = of.get_next_fire_time(None, datetime.fromtimestamp(now, UTC))
    else:
        before = datetime.fromtimestamp(last, UTC)
        due = of.get_next_fire_time(before, datetime.fromtimestamp(now, UTC))
    return None if due is None else max(due.timestamp(), now)


class Calendar:
    """Calls what is due. One event loop owns it."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone or local_zone()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # However late: a run that the machine slept through is made up, once.
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )

    def add(
        self,
        name: str,
        times: Times,
        due: Callable[[], None],
        *,
        last: float | None,
        now: float,
    ) -> None:
        """Call ``due`` at these times. ``last``: when it ran before this start, if it ever did."""
        rng = Random(name)  # noqa: S311 - spreads load, the same way after each restart
        when = trigger(times, rng, self._zone)
        first = first_run(when, times, last, now, rng)
        if first is None:
            log.warning("the schedule names no day that ever comes", of=name, at=times.schedule)
            return
        self._scheduler.add_job(
            _call, when, args=[due], id=name, next_run_time=datetime.fromtimestamp(first, UTC)
        )
        log.info("canary scheduled", of=name, seconds_until_first=round(first - now))

    def start(self) -> None:
        """Begin to call, in the running event loop."""
        self._scheduler.start()

    async def stop(self) -> None:
        """Call no more."""
        self._scheduler.shutdown(wait=False)
        await asyncio.sleep(0)  # it ends with the loop's next round


async def _call(due: Callable[[], None]) -> None:
    # A coroutine runs in the loop, anything else would in a thread.
    due()


def _days(cron: Cron) -> Iterable[tuple[Iterable[int], Iterable[int]]]:
    if not cron.either_day:
        return [(cron.days, cron.weekdays)]
    return [(cron.days, range(7)), (range(1, 32), cron.weekdays)]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in sorted(numbers))


def _spread(period: float) -> float:
    """How many seconds later than others something may start that comes so often."""
    return min(_SPREAD_SHARE * period, _SPREAD_MOST)


def local_zone() -> tzinfo:
    """Find the machine's time zone."""
    try:
        return get_localzone()
    except ZoneInfoNotFoundError:
        # Said in two places, differently, as where only one of two files is mounted into a
        # container. The C library goes by this one.
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
