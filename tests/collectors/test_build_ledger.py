"""Counting builds once, whatever happens to who counts them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.builds import BuildCounts
from exporter.collectors import build_ledger
from exporter.collectors.build_ledger import Ledger
from exporter.errors import StorageError
from tests.collectors.fakes import HANG, act
from tests.collectors.histories import FakeStore, build

KEY = ("n1", "farm0")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def loaded(store: FakeStore) -> Ledger:
    """A ledger as it is after a start."""
    ledger = Ledger(store)
    await ledger.load()
    return ledger


def total(ledger: Ledger) -> int:
    counts = ledger.counts(KEY)
    assert counts is not None
    return counts.total


def test_builds_from_before_are_not_counted() -> None:
    ledger = Ledger()
    ledger.listed(KEY, [build("a"), build("b")])
    assert ledger.counts(KEY) == BuildCounts()
    assert not ledger.ended(KEY, build("a"))
    ledger.listed(KEY, [build("a"), build("b"), build("c")])
    assert total(ledger) == 1


def test_a_build_is_counted_once_with_all_it_says() -> None:
    ledger = Ledger()
    ledger.listed(KEY, [])
    assert ledger.ended(KEY, build("a", duration=4.0))
    assert ledger.ended(KEY, build("b", duration=4000.0, failed=True, steps=3, cached=0))
    assert not ledger.ended(KEY, build("a"))
    ledger.listed(KEY, [build("a"), build("b")])
    counts = ledger.counts(KEY)
    assert counts is not None
    sums = counts.total, counts.failed, counts.steps, counts.cached, counts.duration_sum
    assert sums == (2, 1, 9, 2, 4004.0)
    assert counts.buckets == (0, 0, 1, *(0,) * 9, 1)


async def test_after_a_restart_nothing_is_counted_again_and_nothing_is_missing(
    store: FakeStore,
) -> None:
    before = await loaded(store)
    before.listed(KEY, [build("old")])
    before.ended(KEY, build("a"))
    assert await before.write()
    after = await loaded(store)
    after.listed(KEY, [build("old"), build("a"), build("b")])
    assert total(after) == 2


async def test_one_that_is_killed_before_it_writes_counts_again(store: FakeStore) -> None:
    before = await loaded(store)
    before.listed(KEY, [])
    assert await before.write()
    before.ended(KEY, build("a"))
    after = await loaded(store)
    after.listed(KEY, [build("a")])
    assert total(after) == 1


async def test_no_total_is_told_before_it_is_whole(store: FakeStore) -> None:
    """Else it would fall behind what was told before a kill, as if the counter had been reset."""
    before = await loaded(store)
    before.listed(KEY, [])
    assert await before.write()
    assert (await loaded(store)).counts(KEY) is None
    assert before.counts(("n1", "other")) is None


async def test_a_store_that_fails_stops_no_counting(store: FakeStore) -> None:
    ledger = await loaded(store)
    store.broken = True
    with capture_logs() as logs:
        ledger.listed(KEY, [build("old")])
        ledger.ended(KEY, build("a"))
        assert not await ledger.write()
        assert not await ledger.write()
        assert total(ledger) == 1
        store.broken = False
        assert await ledger.write()
    assert store.rows[KEY] == (ledger.counts(KEY), {"old", "a"})
    told = [entry["event"] for entry in logs]
    assert told == ["the history can't be written", "the history can be written again"]


async def test_a_store_that_can_not_be_read_is_an_error(store: FakeStore) -> None:
    store.broken = True
    with pytest.raises(StorageError, match="the disk is full"):
        await loaded(store)


@pytest.mark.virtual_time
async def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang() -> None:
        await act(HANG)

    monkeypatch.setattr(FakeStore, "load", lambda _: hang())
    with pytest.raises(StorageError, match="no answer in time"):
        await loaded(FakeStore())


@pytest.mark.virtual_time
async def test_what_is_counted_is_written_soon_and_in_one_piece(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await loaded(store)
    writes: list[int] = []
    add = store.add

    async def spy(key: tuple[str, str], builds: list[object], *more: object) -> None:
        writes.append(len(builds))
        await add(key, builds, *more)

    monkeypatch.setattr(store, "add", spy)
    task = asyncio.create_task(ledger.run())
    ledger.listed(KEY, [])
    for number in range(50):
        ledger.ended(KEY, build(str(number)))
        await asyncio.sleep(0.01)
    await asyncio.sleep(2.0)
    store.broken = True
    ledger.ended(KEY, build("late"))
    await asyncio.sleep(5.0)
    store.broken = False
    await asyncio.sleep(60.0)
    task.cancel()
    await asyncio.wait([task])
    assert writes == [50, 1, 1]
    assert store.rows[KEY][0].total == 51


async def test_what_is_not_listed_any_more_is_forgotten(store: FakeStore) -> None:
    ledger = await loaded(store)
    ledger.listed(KEY, [build("a"), build("b")])
    ledger.listed(KEY, [build("b")])
    await ledger.write()
    await ledger.write()
    assert store.rows[KEY][1] == {"b"}
    assert not ledger.knows(KEY, "a")


async def test_what_is_removed_is_known_for_a_while(store: FakeStore) -> None:
    """News come in any order: a removed build must not be counted by its end told late."""
    ledger = await loaded(store)
    ledger.listed(KEY, [])
    for number in range(1000):
        ledger.ended(KEY, build(str(number)))
        ledger.removed(KEY, str(number))
        assert not ledger.ended(KEY, build(str(number)))
    await ledger.write()
    await ledger.write()
    assert len(store.rows[KEY][1]) == 256
    assert total(ledger) == store.rows[KEY][0].total == 1000


def test_a_builder_made_anew_goes_on_counting() -> None:
    ledger = Ledger()
    ledger.listed(KEY, [])
    ledger.ended(KEY, build("a"))
    ledger.keep("n1", [])
    ledger.keep("n1", ["farm0"])
    ledger.listed(KEY, [])
    ledger.ended(KEY, build("b"))
    assert total(ledger) == 2


async def test_of_builders_that_are_gone_only_the_last_ones_are_known(store: FakeStore) -> None:
    ledger = await loaded(store)
    ledger.listed(("n2", "farm0"), [])
    for number in range(100):
        ledger.listed(("n1", f"ci-{number}"), [build("a")])
        ledger.keep("n1", [f"ci-{number}"])
        await ledger.write()
    known = {("n2", "farm0")} | {("n1", f"ci-{number}") for number in range(67, 100)}
    assert store.rows.keys() == known
    assert {key for key in store.rows if ledger.counts(key) is not None} == known


async def test_what_can_not_be_written_is_bounded(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_ledger, "_MOST_UNWRITTEN", 3)
    ledger = await loaded(store)
    ledger.listed(KEY, [])
    for number in range(10):
        ledger.ended(KEY, build(str(number)))
    await ledger.write()
    assert total(ledger) == 10
    assert store.rows[KEY][0].total == 3


STEPS = st.sampled_from(
    ["build", "build unseen", "again", "list", "write", "kill", "break", "mend"]
)


@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_the_total_is_the_number_of_builds(steps: list[str]) -> None:
    """Builds end unseen, ends are told again, the store breaks, daemons are killed."""
    asyncio.run(_story(steps))


async def _story(steps: list[str]) -> None:
    store, past = FakeStore(), [build("old")]
    ledger = await loaded(store)
    ledger.listed(KEY, past)
    assert await ledger.write()
    for number, step in enumerate([*steps, "mend", "list", "write"]):
        match step:
            case "build" | "build unseen":
                past.append(build(str(number)))
                if step == "build":
                    assert ledger.ended(KEY, past[-1])
            case "again":
                ledger.listed(KEY, past)
                assert not any(ledger.ended(KEY, one) for one in past)
            case "list":
                ledger.listed(KEY, past)
            case "write":
                await ledger.write()
            case "break" | "mend":
                store.broken = step == "break"
            case "kill" if not store.broken:
                ledger = await loaded(store)
                ledger.listed(KEY, past)
    assert total(ledger) == store.rows[KEY][0].total == len(past) - 1
    assert store.rows[KEY][1] == {one.ref for one in past}
