"""Alerts over a restart of the daemon: what it remembers, and what it makes of that."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from exporter.alerts import Alert, AlertmanagerSettings, AlertPhase
from tests.alerting.evaluating import LOW, WELL, Daemon, MemoryStore


async def test_a_restart_goes_on_with_the_clock() -> None:
    store = MemoryStore()
    await Daemon(store).until(200, LOW)
    again = Daemon(store, now=250.0)
    await again.alerting.load()
    await again.until(305, LOW)
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]
    (shown,) = again.alerting.shown()
    assert shown.alert.active_since == 5


async def test_a_long_time_away_counts_for_nothing() -> None:
    """Pending for 100 s at a stop, and so again two days later: it takes what was left of 300 s."""
    store, stop = MemoryStore(), asyncio.Event()
    daemon = Daemon(store)
    await daemon.until(105, LOW)
    stop.set()
    await daemon.alerting.run(stop)
    again = Daemon(store, now=172_800.0)
    await again.alerting.load()
    await again.until(172_995, LOW)
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.PENDING)]
    await again.until(173_000, LOW)
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]


async def test_until_when_an_alert_was_pending_is_written_down() -> None:
    """Every 30 s: who is killed goes on from there. Nothing is written of what fires."""
    store = MemoryStore()
    daemon = Daemon(store)
    seen = []
    for now in (25, 30, 55, 60, 300, 305, 400):
        await daemon.until(now, LOW)
        seen += [alert.seen_at for alert in store.rows.values()]
    assert seen == [5, 30, 30, 60, 300, 305, 305]


async def test_after_a_restart_what_ended_meanwhile_is_told() -> None:
    """Not before somebody has looked; but then."""
    store = MemoryStore()
    await Daemon(store).until(400, LOW)
    again = Daemon(store, now=500.0)
    await again.alerting.load()
    again.know("a", up=True)
    await again.until(555, {})
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]
    await again.until(565, WELL)
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.RESOLVED)]
    assert store.rows["BuildFarmDiskLow", (("node", "a"), ("path", "/d"))].resolved_at == 560


async def test_a_node_that_was_silent_since_the_restart_is_not_well() -> None:
    """Its disk was not seen to be repaired."""
    store = MemoryStore()
    await Daemon(store).until(400, LOW)
    again = Daemon(store, now=500.0)
    await again.alerting.load()
    await again.until(900, {})
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]


async def test_what_is_only_remembered_is_no_news() -> None:
    """After a restart an alert is told again when it was seen to be so, or when nobody could look
    for a while: Alertmanager may have taken it for ended, and it may have."""
    store = MemoryStore()
    await Daemon(store).until(400, LOW)
    again = Daemon(store, now=5000.0)
    await again.alerting.load()
    await again.until(5010, {})
    assert again.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]
    assert again.alerting.payload(again.now) == []
    await again.until(5015, LOW)
    (told,) = again.alerting.payload(again.now)
    assert told["startsAt"] == "1970-01-01T00:05:05.000+00:00"

    silent = Daemon(store, now=5000.0)
    await silent.alerting.load()
    await silent.until(5115, {})
    assert silent.alerting.payload(silent.now) == []
    await silent.until(5120, {})
    assert len(silent.alerting.payload(silent.now)) == 1


async def test_what_was_seen_to_be_so_again_is_told_at_once() -> None:
    """Not only when the next sending is due: Alertmanager waits since before the restart."""
    store = MemoryStore()
    await Daemon(store).until(400, LOW)
    again = Daemon(store, now=450.0, alertmanagers=(AlertmanagerSettings("http://there"),))
    (manager,) = again.alerting._managers
    offered: list[Any] = []
    with patch.object(manager, "offer", lambda alerts, _: offered.append(len(alerts))):
        await again.alerting.load()
        await again.until(460, {})
        await again.until(470, LOW)
    assert offered == [0, 1]


@pytest.mark.parametrize(
    "other",
    [
        Alert("BuildFarmDiskLow", (("node", "gone"),), 0.0, 0.1, AlertPhase.FIRING, 0.0),
        Alert("BuildFarmNoMore", (("node", "a"),), 0.0, 0.1, AlertPhase.FIRING, 0.0),
    ],
    ids=["node", "rule"],
)
async def test_what_is_not_in_the_configuration_is_not_touched(other: Alert) -> None:
    """Another daemon may share the store: what is not evaluated here is not over."""
    store = MemoryStore({other.key: other})
    daemon = Daemon(store, now=10.0)
    await daemon.alerting.load()
    await daemon.until(900, WELL)
    assert daemon.phases == []
    assert store.rows == {other.key: other}


async def test_it_is_written_down_before_it_is_told() -> None:
    """Killed in between, the daemon goes on with what people know."""

    @dataclass
    class Watching(MemoryStore):
        told: list[int] = field(default_factory=list)

        async def save(self, changed: Collection[Alert], ended: Collection[Alert]) -> None:
            await super().save(changed, ended)
            self.told.append(len(offered))

    store, offered = Watching(), list[Any]()
    daemon = Daemon(store, alertmanagers=(AlertmanagerSettings("http://there"),))
    (manager,) = daemon.alerting._managers
    with patch.object(manager, "offer", lambda alerts, _: offered.append(alerts)):
        await daemon.until(300, LOW)
        before = len(offered)
        await daemon.until(305, LOW)
    assert store.told[-1] == before
    assert len(offered) == before + 1


async def test_a_store_that_fails_silences_nothing() -> None:
    """What could not be written is written as soon as it can be; told once."""
    store = MemoryStore(broken=True)
    daemon = Daemon(store)
    with capture_logs() as logs:
        await daemon.alerting.load()
        await daemon.until(400, LOW)
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "the history can't be written",
    ]
    assert daemon.phases == [("BuildFarmDiskLow", AlertPhase.FIRING)]
    assert store.rows == {}
    store.broken = False
    await daemon.until(405, LOW)
    assert [alert.phase for alert in store.rows.values()] == [AlertPhase.FIRING]
    await daemon.until(900, WELL)
    assert store.rows == {}
