"""Alerts as the daemon has them: evaluated, shown, told."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

from structlog.testing import capture_logs

from exporter.alerts import AlertmanagerSettings, AlertPhase, Change
from tests.alerting.evaluating import LOW, SITE, WELL, Daemon
from tests.alerting.receiver import receiving


async def test_what_alertmanager_is_told() -> None:
    """Stable labels with the node's own; values in texts only; ends a few intervals ahead."""
    daemon = Daemon()
    await daemon.until(100, WELL)
    await daemon.until(400, LOW)
    assert daemon.alerting.payload(daemon.now) == []
    await daemon.until(405, LOW)
    (told,) = daemon.alerting.payload(daemon.now)
    assert told["labels"] == {
        "alertname": "BuildFarmDiskLow",
        "severity": "warning",
        "farm": "ci",
        "rack": "r1",
        "node": "a",
        "path": "/d",
    }
    assert told["annotations"]["description"].startswith("Of the filesystem /d on a only 10.0%")
    assert told["annotations"]["runbook_url"] == f"{SITE}/runbooks/BuildFarmDiskLow"
    assert told["generatorURL"] == f"{SITE}/#a"
    assert told["startsAt"] == "1970-01-01T00:06:45.000+00:00"
    assert told["endsAt"] == "1970-01-01T00:10:45.000+00:00"


async def test_an_end_is_told_for_five_minutes() -> None:
    daemon = Daemon()
    await daemon.until(400, LOW)
    await daemon.until(500, WELL)
    (told,) = daemon.alerting.payload(daemon.now)
    assert told["endsAt"] == "1970-01-01T00:06:45.000+00:00"
    await daemon.until(700, WELL)
    assert len(daemon.alerting.payload(daemon.now)) == 1
    await daemon.until(705, WELL)
    assert daemon.alerting.payload(daemon.now) == []


async def test_how_many_there_are_is_a_metric() -> None:
    daemon = Daemon()
    await daemon.alerting.tick()
    assert (daemon.gauge("pending"), daemon.gauge("firing")) == (0, 0)
    await daemon.until(10, LOW)
    assert (daemon.gauge("pending"), daemon.gauge("firing")) == (1, 0)
    await daemon.until(400, LOW)
    assert (daemon.gauge("pending"), daemon.gauge("firing")) == (0, 1)


async def test_what_began_after_the_start_is_over_when_it_is_not_so() -> None:
    """Only what is remembered from before waits for somebody to look."""
    daemon = Daemon(changes={"BuildFarmDiskLow": Change(for_=0.0)})
    await daemon.until(5, LOW)
    await daemon.until(10, {})
    assert daemon.phases == [("BuildFarmDiskLow", AlertPhase.RESOLVED)]


async def test_a_replica_that_is_away_hears_of_an_end_when_it_is_back() -> None:
    """However long that takes, up to a day; the others have heard long ago."""
    async with receiving() as there, receiving() as away:
        away.status = 503
        urls = [AlertmanagerSettings(receiver.url) for receiver in (there, away)]
        daemon = Daemon(alertmanagers=tuple(urls))
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.alerting.run(stop))
        await daemon.until(400, LOW)
        await there.until(1)
        await daemon.until(800, WELL)
        assert daemon.phases == [("BuildFarmDiskLow", AlertPhase.RESOLVED)]
        away.status = 200
        await away.until(len(away.posts) + 1)
        (told,) = away.posts[-1]
        assert told["endsAt"] == "1970-01-01T00:06:45.000+00:00"
        async with asyncio.timeout(20):
            while daemon.phases:
                await daemon.until(daemon.now + 5, WELL)
                await asyncio.sleep(0.01)
        stop.set()
        await running


async def test_a_clock_that_is_set_back_silences_nothing() -> None:
    daemon = Daemon(now=10_000.0, alertmanagers=(AlertmanagerSettings("http://there"),))
    (manager,) = daemon.alerting._managers
    offered: list[Any] = []
    with patch.object(manager, "offer", lambda alerts, _: offered.append(alerts)):
        await daemon.alerting.tick()
        daemon.now = 1_000.0
        await daemon.alerting.tick()
    assert len(offered) == 2


async def test_what_fires_is_logged_once() -> None:
    daemon = Daemon()
    with capture_logs() as logs:
        await daemon.until(600, LOW)
        await daemon.until(900, WELL)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("alert is pending", "info"),
        ("alert is firing", "warning"),
        ("alert is resolved", "info"),
    ]
    assert logs[1]["what"] == logs[2]["was"] == "10.0% of the disk of a is free"
    assert "what" not in logs[2]


async def test_an_alert_that_is_switched_off_is_not_evaluated() -> None:
    daemon = Daemon(changes={"BuildFarmDiskLow": Change(enabled=False)})
    await daemon.until(400, LOW)
    assert daemon.phases == []
