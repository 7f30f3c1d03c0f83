"""The history in memory and in a store that several processes write to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from exporter.actions.history import History
from exporter.errors import StorageError
from exporter.prunes import LEASE, Outcome, PruneRecord
from tests.actions.facts import NOW, record
from tests.actions.fakes import MemoryStore

RUNNING = record(None, started=NOW, id="r")
DONE = replace(RUNNING, outcome=Outcome.OK, finished_at=NOW + 30, seen_at=NOW + 30)


class Daemon:
    """A process: its history, and what it heard of ends."""

    def __init__(self, store: MemoryStore) -> None:
        self.ended: list[PruneRecord] = []
        self.history = History(store, self.ended.append)

    @property
    def known(self) -> list[PruneRecord]:
        return list(self.history.latest.values())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def one(store: MemoryStore) -> Daemon:
    return Daemon(store)


@pytest.fixture
def other(store: MemoryStore) -> Daemon:
    return Daemon(store)


async def test_start_is_known_before_it_is_written(store: MemoryStore, one: Daemon) -> None:
    """Another node decides by it while the database is still at work."""
    store.hangs = True
    beginning = asyncio.create_task(one.history.begin(RUNNING))
    await asyncio.sleep(0)
    assert one.known == [RUNNING]
    beginning.cancel()
    await asyncio.wait([beginning])


async def test_prune_is_written_as_it_goes(store: MemoryStore, one: Daemon) -> None:
    assert await one.history.begin(RUNNING)
    await one.history.save(replace(RUNNING, seen_at=NOW + 10))
    await one.history.save(DONE)
    assert (store.rows["r"], one.known, one.ended) == (DONE, [DONE], [DONE])


async def test_only_one_process_begins(one: Daemon, other: Daemon) -> None:
    assert await one.history.begin(RUNNING)
    assert not await other.history.begin(replace(RUNNING, id="x", started_at=NOW + 1))
    assert other.known == []


async def test_refused_start_leaves_the_last_prune_known(one: Daemon, other: Daemon) -> None:
    before = record(NOW - 9000)
    await other.history.save(before)
    await one.history.load()
    await one.history.begin(RUNNING)
    assert not await other.history.begin(replace(RUNNING, id="x"))
    assert other.known == [before]


async def test_cancelled_start_is_not_taken_for_a_running_prune(
    store: MemoryStore, one: Daemon
) -> None:
    store.hangs = True
    beginning = asyncio.create_task(one.history.begin(RUNNING))
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.wait([beginning])
    assert beginning.cancelled()
    assert one.known == []


async def test_prune_of_another_process_is_heard_of_once(one: Daemon, other: Daemon) -> None:
    await other.history.begin(RUNNING)
    await one.history.refresh(NOW + 5)
    assert (one.known, one.ended) == ([RUNNING], [])
    await other.history.save(DONE)
    for seconds in (35, 40, 45):
        await one.history.refresh(NOW + seconds)
    assert (one.known, one.ended) == ([DONE], [DONE])


async def test_what_was_before_the_start_is_not_heard_of(one: Daemon, other: Daemon) -> None:
    await other.history.save(DONE)
    await one.history.load()
    await one.history.refresh(NOW + 60)
    assert (one.known, one.ended) == ([DONE], [])


async def test_killed_process_leaves_an_interrupted_prune(one: Daemon, other: Daemon) -> None:
    """Not before nobody said for a while that it runs; then once."""
    await other.history.begin(RUNNING)
    del other
    await one.history.load()
    await one.history.refresh(NOW + LEASE)
    assert one.known == [RUNNING]
    for seconds in (1, 5, 9):
        await one.history.refresh(NOW + LEASE + seconds)
    assert [r.outcome for r in one.ended] == [Outcome.INTERRUPTED]
    assert one.known[0].ended_at == NOW


async def test_own_prune_is_never_taken_for_interrupted(one: Daemon, other: Daemon) -> None:
    """As after a machine was suspended: the next beat is late, and another daemon was faster."""
    await one.history.begin(RUNNING)
    await other.history.refresh(NOW + 10 * LEASE)
    await one.history.refresh(NOW + 10 * LEASE)
    assert (one.known, one.ended) == ([RUNNING], [])
    await one.history.save(DONE)
    assert one.ended == [DONE]


async def test_store_that_fails_stops_no_prune(store: MemoryStore, one: Daemon) -> None:
    store.broken = True
    assert await one.history.begin(RUNNING)
    await one.history.save(DONE)
    assert (one.known, one.ended, store.rows) == ([DONE], [DONE], {})


async def test_what_could_not_be_written_is_written_later(store: MemoryStore, one: Daemon) -> None:
    store.broken = True
    await one.history.begin(RUNNING)
    await one.history.save(DONE)
    await one.history.refresh(NOW + 40)
    store.broken = False
    await one.history.refresh(NOW + 50)
    await one.history.refresh(NOW + 60)
    assert (store.writes, one.ended) == ([DONE], [DONE])


@pytest.mark.virtual_time
async def test_store_that_hangs_is_not_waited_for(store: MemoryStore, one: Daemon) -> None:
    store.hangs = True
    assert await one.history.begin(RUNNING)
    await asyncio.gather(one.history.save(DONE), one.history.refresh(NOW + 40))
    assert one.known == [DONE]
    with pytest.raises(StorageError, match="no answer in time"):
        await one.history.load()


async def test_last_words_of_a_cancelled_task_are_not_lost(store: MemoryStore, one: Daemon) -> None:
    await one.history.begin(RUNNING)
    store.hangs = True
    saving = asyncio.create_task(one.history.save(DONE))
    await asyncio.sleep(0)
    saving.cancel()
    await asyncio.wait([saving])
    store.hangs = False
    await one.history.refresh(NOW + 40)
    assert store.rows["r"] == DONE


async def test_refreshes_are_shared(store: MemoryStore, one: Daemon, other: Daemon) -> None:
    await one.history.refresh(NOW)
    await other.history.save(DONE)
    await one.history.refresh(NOW + 2)
    assert one.known == []
    await one.history.refresh(NOW + 3)
    assert one.known == [DONE]
    assert store.writes == [DONE]


async def test_clock_put_back(one: Daemon, other: Daemon) -> None:
    """Refreshes go on, and a prune of the future does not hide those of today."""
    await other.history.save(record(NOW + 86400, id="future"))
    await one.history.load()
    await one.history.refresh(NOW + 86400)
    assert await one.history.begin(RUNNING)
    await one.history.save(DONE)
    later = record(NOW + 100, id="later")
    await other.history.save(later)
    await one.history.refresh(NOW + 110)
    assert one.known == [later]
