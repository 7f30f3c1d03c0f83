"""Prunes as rows: what is written is what is read, whoever else writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import StorageError
from exporter.prunes import LEASE, Measure, Outcome, PruneRecord, Trigger
from exporter.storage.database import open_database
from exporter.storage.prunes import INTERRUPTED_NOTE, PruneStore
from tests.actions.facts import NOW, record

FULL = PruneRecord(
    id="0123456789abcdef0123456789abcdef",
    node="n1",
    builder="farm0",
    trigger=Trigger.INODES,
    reason="8 % of the inodes are free; größer",
    keep=2**45,
    all=True,
    started_at=NOW + 0.123456,
    seen_at=NOW + 1,
    outcome=Outcome.FAILED,
    finished_at=NOW + 2.5,
    before=Measure(2**44, 3, 4),
    after=Measure(5, None, 7),
    reclaimed=2**43,
    records=12,
    escalated=True,
    effective=False,
    stalled=True,
    note="it broke",
)
RUNNING = record(None, id="r", started=NOW)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[PruneStore]:
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        yield PruneStore(database)


async def test_what_is_written_is_what_is_read(store: PruneStore) -> None:
    await store.save(FULL)
    assert await store.recent(10) == [FULL]


@given(
    st.builds(
        PruneRecord,
        id=st.text("0123456789abcdef", min_size=32, max_size=32),
        started_at=st.floats(0, 1e11),
        seen_at=st.floats(0, 1e11),
        finished_at=st.none() | st.floats(0, 1e11),
        keep=st.integers(0, 2**60),
        reclaimed=st.integers(0, 2**60),
        records=st.integers(0, 2**40),
        before=st.builds(Measure, *[st.none() | st.integers(0, 2**60)] * 3),
        after=st.builds(Measure, *[st.none() | st.integers(0, 2**60)] * 3),
        node=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_record(tmp_path_factory: pytest.TempPathFactory, record: PruneRecord) -> None:
    async def there_and_back() -> list[PruneRecord]:
        url = f"sqlite:///{tmp_path_factory.getbasetemp()}/any.db"
        async with open_database(url) as database:
            await PruneStore(database).save(record)
            return await PruneStore(database).recent(1000)

    assert record in asyncio.run(there_and_back())


async def test_later_state_replaces_the_earlier_one(store: PruneStore) -> None:
    await store.save(RUNNING)
    done = replace(RUNNING, outcome=Outcome.OK, finished_at=NOW + 5)
    await store.save(done)
    await store.save(replace(RUNNING, seen_at=NOW + 4))
    assert await store.recent(10) == [done]


async def test_end_that_was_taken_for_an_interruption_is_put_right(store: PruneStore) -> None:
    await store.save(RUNNING)
    await store.interrupt(NOW + 1)
    done = replace(RUNNING, outcome=Outcome.OK, finished_at=NOW + 5)
    await store.save(done)
    assert await store.recent(10) == [done]


@pytest.mark.parametrize(
    ("other", "newer_than", "claimed"),
    [
        (record(NOW - 500, id="o"), NOW - 560, True),
        (record(NOW - 500, id="o"), NOW - 561, False),
        (record(NOW - 500, id="o", node="n2"), 0.0, True),
        (record(NOW - 500, id="o", builder="farm1"), 0.0, True),
        # One that runs, known or not; one whose process was killed.
        (record(None, id="o", started=NOW - 500), NOW, False),
        (record(None, id="o", started=NOW - 500, seen=NOW - LEASE - 1), NOW, True),
        # Written under a clock that was put back since.
        (record(NOW + 9000, id="o"), 0.0, True),
    ],
)
async def test_claim(
    store: PruneStore, other: PruneRecord, newer_than: float, claimed: bool
) -> None:
    await store.save(other)
    assert await store.claim(RUNNING, newer_than) is claimed
    assert (RUNNING in await store.recent(10)) is claimed


async def test_only_one_of_many_claims(store: PruneStore) -> None:
    tries = [store.claim(replace(RUNNING, id=str(n)), 0.0) for n in range(10)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 9 + [True]


async def test_interrupt_ends_what_nobody_reports_on(store: PruneStore) -> None:
    silent = record(None, id="s", seen=NOW - 61, started=NOW - 100)
    await store.save(silent)
    await store.save(replace(RUNNING, builder="farm1"))
    await store.save(FULL)
    await store.interrupt(NOW - 60)
    ended = replace(
        silent, outcome=Outcome.INTERRUPTED, finished_at=NOW - 61, note=INTERRUPTED_NOTE
    )
    assert await store.recent(10) == [FULL, replace(RUNNING, builder="farm1"), ended]


async def test_latest_of_each_builder(store: PruneStore) -> None:
    newest = [record(NOW, node=n, builder=b) for n, b in [("n1", "a"), ("n1", "b"), ("n2", "a")]]
    for one in newest:
        await store.save(record(NOW - 100, node=one.node, builder=one.builder))
        await store.save(one)
    assert sorted(await store.latest(), key=lambda r: r.key) == newest
    earlier = await store.latest(until=NOW - 150)
    assert [r.ended_at for r in earlier] == [NOW - 100] * 3


async def test_recent_newest_first_page_by_page(store: PruneStore) -> None:
    rows = [record(NOW - n, id=f"{n}", node=f"n{n % 2}") for n in range(10)]
    for row in rows:
        await store.save(row)
    assert await store.recent(3) == rows[:3]
    assert await store.recent(3, before=rows[2].started_at) == rows[3:6]
    assert await store.recent(2, node="n1") == [rows[1], rows[3]]


async def test_error_says_what_and_where(store: PruneStore, tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"")
    with pytest.raises(StorageError, match=r"sqlite:///.*/history.db: "):
        await store.save(RUNNING)
