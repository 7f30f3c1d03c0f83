"""Alerts as rows: a restart finds them as they stood."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.alerts import Alert, AlertPhase, Labels
from exporter.errors import StorageError
from exporter.storage.alerts import AlertStore
from exporter.storage.database import open_database

DISK: Labels = (("node", "n1"), ("path", "/var/lib/docker"))
PENDING = Alert("BuildFarmDiskLow", DISK, 1_700_000_000.123456, 0.1, seen_at=1_700_000_030.75)
FIRING = replace(PENDING, phase=AlertPhase.FIRING, fired_at=1_700_000_300.5, value=0.05)
RESOLVED = replace(FIRING, phase=AlertPhase.RESOLVED, resolved_at=1_700_000_900.25)
OTHER = Alert("BuildFarmNodeUnreachable", (("node", "n1"),), 5.0, 0.0)
STRANGE: Labels = (
    ("builder", 'it"s, a\\b{}'),
    ("node", "größer ☃ 𝄞"),
    ("path", "/d\n%s'; DROP TABLE alerts; --"),
)


@pytest.fixture
async def alerts(tmp_path: Path) -> AsyncIterator[AlertStore]:
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        yield AlertStore(database)


@pytest.mark.parametrize("alert", [PENDING, FIRING, RESOLVED], ids=lambda alert: alert.phase)
async def test_what_is_saved_is_what_is_loaded(alerts: AlertStore, alert: Alert) -> None:
    assert await alerts.load() == []
    await alerts.save([alert], [])
    assert await alerts.load() == [alert]


async def test_a_later_phase_takes_the_place_of_an_earlier_one(alerts: AlertStore) -> None:
    await alerts.save([PENDING, OTHER], [])
    for later in (FIRING, RESOLVED, PENDING):
        await alerts.save([later], [])
        assert sorted(await alerts.load(), key=lambda alert: alert.name) == [later, OTHER]


async def test_what_ended_is_forgotten(alerts: AlertStore) -> None:
    """That one alone: not another one of the same name, nor one with the same labels."""
    others = [replace(FIRING, labels=(("node", "n2"),)), replace(FIRING, name="Other")]
    await alerts.save([FIRING, *others], [])
    await alerts.save([OTHER], [FIRING])
    found = await alerts.load()
    assert sorted(found, key=lambda alert: alert.key) == sorted(
        [*others, OTHER], key=lambda alert: alert.key
    )


async def test_labels_may_hold_anything(alerts: AlertStore) -> None:
    strange = replace(FIRING, labels=STRANGE)
    await alerts.save([PENDING], [])
    await alerts.save([strange], [PENDING])
    await alerts.save([strange], [])
    assert await alerts.load() == [strange]
    await alerts.save([], [strange])
    assert await alerts.load() == []


async def test_a_batch_is_written_wholly_or_not_at_all(alerts: AlertStore) -> None:
    await alerts.save([PENDING], [])
    broken = replace(OTHER, active_since=None)  # type: ignore[arg-type]
    with pytest.raises(StorageError):
        await alerts.save([FIRING, broken], [PENDING])
    assert await alerts.load() == [PENDING]
