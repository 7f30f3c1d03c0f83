"""What canaries came to, with a database and without."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.actions.canary_history import AT_START, CanaryHistory
from exporter.canaries import CanaryOutcome, CanaryRecord, CanaryTrigger, MultiarchRecord
from exporter.errors import StorageError
from tests.actions.canary_farm import MemoryCanaries, canary
from tests.actions.facts import NOW

pytestmark = pytest.mark.virtual_time

WHOLE = MultiarchRecord("w", "farm", CanaryTrigger.SCHEDULE, CanaryOutcome.OK, NOW, NOW + 1)


class Heard:
    """A history, and what it tells."""

    def __init__(self, store: MemoryCanaries) -> None:
        self.ended: list[CanaryRecord] = []
        self.whole: list[MultiarchRecord] = []
        self.history = CanaryHistory(store, self.ended.append, self.whole.append)


async def test_what_is_noted_is_kept_and_told() -> None:
    store = MemoryCanaries()
    heard = Heard(store)
    await heard.history.note(canary())
    await heard.history.note_multiarch(WHOLE)
    assert store.rows == {canary().id: canary(), "w": WHOLE}
    assert store.writes == 2
    assert heard.history.latest == {canary().key: canary()}
    assert (heard.ended, heard.whole) == ([canary()], [WHOLE])


async def test_a_skipped_one_says_nothing_of_the_builder() -> None:
    heard = Heard(MemoryCanaries())
    await heard.history.note(canary())
    skipped = canary(NOW + 60, outcome=CanaryOutcome.SKIPPED)
    await heard.history.note(skipped)
    assert heard.history.latest == {canary().key: canary()}
    assert heard.ended == [canary(), skipped]


@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_a_database_that_is_broken_stops_nothing(trouble: str) -> None:
    """It is told once; what could not be written is written when it can be again."""
    store = MemoryCanaries()
    setattr(store, trouble, True)
    heard = Heard(store)
    records = [canary(NOW + 60 * number) for number in range(3)]
    with capture_logs() as logs:
        for record in records:
            async with asyncio.timeout(10):
                await heard.history.note(record)
    assert [entry["event"] for entry in logs] == ["the history can't be written"]
    assert heard.history.latest == {records[2].key: records[2]}
    assert store.rows == {}
    store.broken = store.hangs = False
    with capture_logs() as logs:
        await heard.history.refresh(NOW + 300)
    assert [entry["event"] for entry in logs] == ["the history can be written again"]
    assert store.rows == {record.id: record for record in records}


@pytest.mark.parametrize("trouble", [StorageError("no such character"), ...])
async def test_one_that_can_not_be_written_keeps_nothing_back(trouble: Any) -> None:
    """Neither those after it, nor what others wrote; it is tried again, and told of once."""
    manual = canary(NOW + 90, trigger=CanaryTrigger.MANUAL)
    store = MemoryCanaries({manual.id: manual}, refused={"bad": trouble})
    heard = Heard(store)
    with capture_logs() as logs:
        await heard.history.note(canary(id="bad"))
        await heard.history.note(canary(NOW + 60))
        for _ in range(2):
            await heard.history.refresh(NOW + 100)
    assert [entry["event"] for entry in logs] == ["the history can't be written"]
    assert set(store.rows) == {manual.id, canary(NOW + 60).id}
    assert heard.history.latest == {manual.key: manual}
    store.refused.clear()
    await heard.history.write()
    assert store.rows["bad"] == canary(id="bad")


async def test_one_try_writes_all_that_can_be_written() -> None:
    """There may be no other before the end of the process."""
    store = MemoryCanaries(broken=True, refused={"bad": StorageError("no such character")})
    heard = Heard(store)
    for id_ in ("bad", "1", "2"):
        await heard.history.note(canary(id=id_))
    store.broken = False
    await heard.history.write()
    assert set(store.rows) == {"1", "2"}


async def test_not_without_end_for_a_database_that_never_comes_back() -> None:
    store = MemoryCanaries(broken=True)
    heard = Heard(store)
    for number in range(1010):
        await heard.history.note(canary(NOW + number, id=str(number)))
    store.broken = False
    await heard.history.refresh(NOW)
    assert [int(id_) for id_ in store.rows] == list(range(10, 1010))


async def test_before_this_start() -> None:
    """What was built too long ago says nothing any more."""
    store = MemoryCanaries({"1": canary(NOW - 60), "2": canary(NOW - AT_START - 1, node="n2")})
    heard = Heard(store)
    await heard.history.load(NOW)
    assert list(heard.history.latest.values()) == [canary(NOW - 60)]
    assert heard.ended == []
    for trouble in ("broken", "hangs"):
        setattr(store, trouble, True)
        with pytest.raises(StorageError):
            await heard.history.load(NOW)


async def test_canaries_by_hand_are_heard_of_once() -> None:
    """They come from another process; what this one built is no news."""
    store = MemoryCanaries()
    heard = Heard(store)
    await heard.history.note(canary())
    manual = canary(NOW + 60, trigger=CanaryTrigger.MANUAL)
    store.rows["m"] = manual
    for _ in range(2):
        await heard.history.refresh(NOW + 100)
    assert heard.ended == [canary(), manual]
    assert heard.history.latest == {manual.key: manual}
