"""Counted builds as rows: each is added once, whoever writes it, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from exporter.builds import Build, BuildCounts
from exporter.collectors.build_ledger import Ledger
from exporter.errors import StorageError
from exporter.storage.builds import BuildStore
from exporter.storage.database import open_database
from tests.collectors.histories import build

KEY = ("n1", "farm0")
BUILDS = [build("a"), build("b", duration=0.1, failed=True), build("c", duration=9999.5, cached=0)]
SUMS = BuildCounts(3, 1, 18, 4, 10003.6, (1, 0, 1, *(0,) * 9, 1))


@pytest.fixture
async def builds(tmp_path: Path) -> AsyncIterator[BuildStore]:
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        yield BuildStore(database)


async def add(
    store: BuildStore,
    builds: Collection[Build] = (),
    uncounted: Collection[str] = (),
    forget: Collection[str] = (),
    key: tuple[str, str] = KEY,
) -> None:
    await store.add(key, builds, uncounted, forget)


async def test_what_is_added_is_what_is_read(builds: BuildStore) -> None:
    await add(builds, BUILDS[:1])
    await add(builds, BUILDS[1:])
    assert await builds.load() == {KEY: (SUMS, {"a", "b", "c"})}


async def test_a_builder_without_builds_is_known(builds: BuildStore) -> None:
    await add(builds)
    assert await builds.load() == {KEY: (BuildCounts(), set())}


async def test_what_is_there_is_not_added_again(builds: BuildStore) -> None:
    await add(builds, BUILDS[:2])
    await add(builds, BUILDS)
    await add(builds, BUILDS)
    assert await builds.load() == {KEY: (SUMS, {"a", "b", "c"})}


async def test_what_is_not_to_be_counted_never_is(builds: BuildStore) -> None:
    await add(builds, [], ["z"])
    await add(builds, [*BUILDS, build("z")])
    assert await builds.load() == {KEY: (SUMS, {"a", "b", "c", "z"})}


async def test_what_is_forgotten_stays_in_the_totals(builds: BuildStore) -> None:
    await add(builds, BUILDS)
    await add(builds, forget=["a", "c", "never there"])
    assert await builds.load() == {KEY: (SUMS, {"b"})}


async def test_builders_are_apart(builds: BuildStore) -> None:
    """Builders of the same name on several nodes, and builds of the same reference."""
    keys = [KEY, ("n1", "docker"), ("n2", "farm0")]
    for key in keys:
        await add(builds, BUILDS, key=key)
    await add(builds, forget=["a"], key=keys[1])
    await builds.remove(keys[2])
    left = {keys[0]: (SUMS, {"a", "b", "c"}), keys[1]: (SUMS, {"b", "c"})}
    assert await builds.load() == left
    # Nothing is left that would keep the same builds from counting again.
    await add(builds, BUILDS[:1], key=keys[2])
    assert (await builds.load())[keys[2]][0].total == 1


async def test_daemons_at_once_add_each_build_once(builds: BuildStore) -> None:
    many = [build(str(number), duration=1.0) for number in range(40)]
    tries = [add(builds, many[start : start + 20]) for start in range(0, 21, 2)]
    await asyncio.gather(*tries, *tries_of(builds, many))
    counts, refs = (await builds.load())[KEY]
    assert (counts.total, counts.duration_sum, len(refs)) == (40, 40.0, 40)


def tries_of(store: BuildStore, many: list[Build]) -> list[asyncio.Task[None]]:
    """Several daemons that start anew and find everything."""
    return [asyncio.create_task(add(store, many), name=f"daemon {n}") for n in range(4)]


async def test_more_than_a_statement_has_room_for(builds: BuildStore) -> None:
    many = [build(str(number)) for number in range(20_000)]
    await add(builds, many)
    await add(builds, forget=[one.ref for one in many[1:]])
    counts, refs = (await builds.load())[KEY]
    assert (counts.total, refs) == (20_000, {"0"})


async def test_a_ledger_over_it(builds: BuildStore) -> None:
    """Two daemons that count the same add it once; the next start of one knows all of it."""
    first, second = Ledger(builds), Ledger(builds)
    for ledger in (first, second):
        await ledger.load()
    for ledger in (first, second):
        ledger.listed(KEY, [build("old")])
        for one in BUILDS:
            ledger.ended(KEY, one)
        assert await ledger.write()
    third = Ledger(builds)
    await third.load()
    third.listed(KEY, [build("old"), *BUILDS])
    assert first.counts(KEY) == second.counts(KEY) == third.counts(KEY) == SUMS


async def test_error_says_what_and_where(builds: BuildStore, tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"")
    with pytest.raises(StorageError, match=r"sqlite:///.*/history.db: "):
        await add(builds, BUILDS)
