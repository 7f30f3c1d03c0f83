"""Canary builds as rows: what is written is what is read."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
    Step,
    StepTime,
)
from exporter.errors import StorageError
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database
from tests.actions.canary_farm import canary
from tests.actions.facts import NOW

FAILED = canary(
    outcome=CanaryOutcome.FAILED,
    trigger=CanaryTrigger.MANUAL,
    emulated=True,
    steps={Step.PULL: StepTime(0.1, None, cached=True), Step.DISK: StepTime(1.5, 2**40)},
    detail="größer als die Platte",
)
RUN = MultiarchRun(12.5, {"linux/amd64": "farm0", "linux/arm64": "farm1"}, 6, 4)
WHOLE = MultiarchRecord(
    id="w",
    builder="farm",
    trigger=CanaryTrigger.SCHEDULE,
    outcome=CanaryOutcome.OK,
    started_at=NOW,
    finished_at=NOW + 30,
    first=replace(RUN, cached=0),
    second=RUN,
    across_nodes=True,
    pushed=("linux/amd64", "linux/arm64"),
)


@pytest.fixture
async def canaries(tmp_path: Path) -> AsyncIterator[CanaryStore]:
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        yield CanaryStore(database)


async def test_a_canary_is_read_as_it_was_written(canaries: CanaryStore) -> None:
    await canaries.save(FAILED)
    await canaries.save(canary(NOW + 1))
    assert await canaries.recent(10) == [canary(NOW + 1), FAILED]


@given(
    st.builds(
        CanaryRecord,
        id=st.just(""),
        started_at=st.floats(0, 1e11),
        finished_at=st.floats(0, 1e11),
        node=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        steps=st.dictionaries(
            st.sampled_from(Step),
            st.builds(
                StepTime, st.floats(0, 1e6), st.none() | st.integers(0, 2**62), st.booleans()
            ),
        ),
    )
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_record(tmp_path_factory: pytest.TempPathFactory, record: CanaryRecord) -> None:
    record = replace(record, id=uuid.uuid4().hex)

    async def there_and_back() -> list[CanaryRecord]:
        url = f"sqlite:///{tmp_path_factory.getbasetemp()}/any-canary.db"
        async with open_database(url) as database:
            await CanaryStore(database).save(record)
            return await CanaryStore(database).recent(1000)

    assert record in asyncio.run(there_and_back())


@pytest.mark.parametrize(
    "whole",
    [
        WHOLE,
        replace(WHOLE, second=None, across_nodes=None),
        replace(
            WHOLE, outcome=CanaryOutcome.FAILED, first=None, second=None, pushed=(), detail="no"
        ),
    ],
)
async def test_a_build_over_the_whole_farm(canaries: CanaryStore, whole: MultiarchRecord) -> None:
    await canaries.save_multiarch(whole)
    assert await canaries.recent_multiarch(10) == [whole]
    assert await canaries.recent_multiarch(10, before=NOW) == []


async def test_written_twice_it_is_there_once(canaries: CanaryStore) -> None:
    """The first try may have seemed to fail."""
    for _ in range(2):
        await canaries.save(canary())
        await canaries.save_multiarch(WHOLE)
    assert await canaries.recent(10) == [canary()]
    assert await canaries.recent_multiarch(10) == [WHOLE]


async def test_latest_of_each_kind(canaries: CanaryStore) -> None:
    kinds = [("n1", "a", "linux/amd64"), ("n1", "b", "linux/amd64"), ("n2", "a", "linux/arm64")]
    newest = [canary(NOW, node=n, builder=b, platform=p) for n, b, p in kinds]
    for one in newest:
        await canaries.save(replace(one, id=f"old-{one.id}"[:32], started_at=NOW - 100))
        await canaries.save(one)
        skipped = canary(NOW + 50, node=one.node, builder=one.builder, platform=one.platform)
        await canaries.save(replace(skipped, outcome=CanaryOutcome.SKIPPED))
    assert sorted(await canaries.latest(), key=lambda r: r.key) == newest
    assert await canaries.latest(since=NOW + 1) == []


async def test_the_last_few_of_each_kind(canaries: CanaryStore) -> None:
    """Oldest first, and none from too long ago."""
    rows = [canary(NOW + n, node=node) for n in range(5) for node in ("n1", "n2")]
    for row in rows:
        await canaries.save(row)
    await canaries.save(canary(NOW + 9, outcome=CanaryOutcome.SKIPPED))
    found = await canaries.lately(3)
    assert sorted(found, key=lambda r: (r.started_at, r.node)) == rows[4:]
    assert [r.started_at for r in found] == sorted(r.started_at for r in found)
    assert {r.id for r in await canaries.lately(3, since=NOW + 3)} == {r.id for r in rows[6:]}


async def test_recent_canaries_page_by_page(canaries: CanaryStore) -> None:
    rows = [canary(NOW - n, id=f"{n}", node=f"n{n % 2}") for n in range(10)]
    for row in rows:
        await canaries.save(row)
    assert await canaries.recent(3) == rows[:3]
    assert await canaries.recent(3, before=rows[2].started_at) == rows[3:6]
    assert await canaries.recent(2, node="n1") == [rows[1], rows[3]]


async def test_last_runs_are_the_scheduled_ones(canaries: CanaryStore) -> None:
    """Skipped or not; a canary by hand takes no run of the schedule's away."""
    await canaries.save(canary(NOW - 100))
    await canaries.save(canary(NOW - 50, outcome=CanaryOutcome.SKIPPED))
    await canaries.save(canary(NOW - 10, trigger=CanaryTrigger.MANUAL))
    await canaries.save(canary(NOW - 70, node="n2"))
    await canaries.save_multiarch(WHOLE)
    await canaries.save_multiarch(
        replace(WHOLE, id="m", trigger=CanaryTrigger.MANUAL, started_at=NOW + 60)
    )
    assert await canaries.last_runs() == {"n1": NOW - 50, "n2": NOW - 70}
    assert await canaries.last_multiarch_runs() == {"farm": NOW}


async def test_error_says_what_and_where(canaries: CanaryStore, tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"")
    with pytest.raises(StorageError, match=r"sqlite:///.*/history.db: "):
        await canaries.save(canary())
