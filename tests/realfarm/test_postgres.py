"""The history on a real PostgreSQL server, for several daemons that share it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from exporter.actions.history import History
from exporter.collectors.build_ledger import Ledger
from exporter.errors import StorageError
from exporter.prunes import Outcome
from exporter.storage.alerts import AlertStore
from exporter.storage.builds import BuildStore
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database
from exporter.storage.orphans import OrphanStore
from exporter.storage.prunes import PruneStore
from exporter.storage.tables import METADATA
from tests.actions.facts import NOW, record
from tests.collectors.histories import build
from tests.realfarm.postgres import Postgres, running

# What holds on SQLite holds here: the same tests, with the fixtures below.
from tests.storage.test_alerts import (  # noqa: F401
    test_a_batch_is_written_wholly_or_not_at_all,
    test_a_later_phase_takes_the_place_of_an_earlier_one,
    test_labels_may_hold_anything,
    test_what_ended_is_forgotten,
    test_what_is_saved_is_what_is_loaded,
)
from tests.storage.test_builds import (  # noqa: F401
    test_a_builder_without_builds_is_known,
    test_a_ledger_over_it,
    test_builders_are_apart,
    test_daemons_at_once_add_each_build_once,
    test_more_than_a_statement_has_room_for,
    test_what_is_added_is_what_is_read,
    test_what_is_forgotten_stays_in_the_totals,
    test_what_is_not_to_be_counted_never_is,
    test_what_is_there_is_not_added_again,
)
from tests.storage.test_canaries import (  # noqa: F401
    test_a_build_over_the_whole_farm,
    test_a_canary_is_read_as_it_was_written,
    test_last_runs_are_the_scheduled_ones,
    test_latest_of_each_kind,
    test_recent_canaries_page_by_page,
    test_written_twice_it_is_there_once,
)
from tests.storage.test_processes import test_first_openings_at_once  # noqa: F401
from tests.storage.test_prunes import (  # noqa: F401
    test_claim,
    test_end_that_was_taken_for_an_interruption_is_put_right,
    test_interrupt_ends_what_nobody_reports_on,
    test_later_state_replaces_the_earlier_one,
    test_latest_of_each_builder,
    test_only_one_of_many_claims,
    test_recent_newest_first_page_by_page,
    test_what_is_written_is_what_is_read,
)

RUNNING = record(None, id="r", started=NOW)
DONE = replace(RUNNING, outcome=Outcome.OK, finished_at=NOW + 5, seen_at=NOW + 5)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as up:
        yield up


@pytest.fixture
def url(server: Postgres) -> str:
    return server.new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PruneStore]:
    async with open_database(url) as database:
        yield PruneStore(database)


@pytest.fixture
async def alerts(url: str) -> AsyncIterator[AlertStore]:
    async with open_database(url) as database:
        yield AlertStore(database)


@pytest.fixture
async def canaries(url: str) -> AsyncIterator[CanaryStore]:
    async with open_database(url) as database:
        yield CanaryStore(database)


@pytest.fixture
async def builds(url: str) -> AsyncIterator[BuildStore]:
    async with open_database(url) as database:
        yield BuildStore(database)


async def test_tables_are_made_once_and_as_the_code_knows_them(url: str) -> None:
    for number in range(2):
        async with open_database(url) as database:
            assert len(await PruneStore(database).recent(10)) == number
            await PruneStore(database).save(DONE)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_newer_version_is_refused(url: str) -> None:
    async with open_database(url) as database, database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '999'"))
    with pytest.raises(StorageError, match=r"a newer version .* wrote it \(tables 999\)"):
        async with open_database(url):
            pass


async def test_orphans(url: str) -> None:
    async with open_database(url) as database:
        orphans = OrphanStore(database)
        await orphans.orphans_since("n1", ["a", "b"], 10.0)
        await orphans.orphan_removed("n1", "b", 15.0)
        assert await orphans.orphans_since("n1", ["a", "b"], 20.0) == {"a": 10.0, "b": 20.0}


async def test_refusal_tells_no_password(server: Postgres) -> None:
    url = f"postgresql://stranger:sesame@/farm?host={server.directory}"
    with pytest.raises(StorageError, match='role "stranger" does not exist') as caught:
        async with open_database(url):
            pass
    assert "sesame" not in str(caught.value)


async def test_server_that_restarts(server: Postgres, store: PruneStore) -> None:
    """A prune goes on meanwhile; what came of it is written afterwards."""
    history = History(store)
    assert await history.begin(RUNNING)
    server.stop()
    try:
        await history.save(DONE)
        with pytest.raises(StorageError):
            await store.recent(10)
    finally:
        server.start()
    await history.refresh(NOW + 10)
    assert await store.recent(10) == [DONE]


async def test_builds_are_counted_while_the_server_is_away(
    server: Postgres, builds: BuildStore
) -> None:
    """What is counted meanwhile is written afterwards, once."""
    key, ledger = ("n1", "farm0"), Ledger(builds)
    await ledger.load()
    ledger.listed(key, [])
    assert await ledger.write()
    server.stop()
    try:
        ledger.ended(key, build("a"))
        assert not await ledger.write()
    finally:
        server.start()
    ledger.ended(key, build("b"))
    with server.hung():
        assert not await ledger.write()
    assert await ledger.write()
    assert await builds.load() == {key: (ledger.counts(key), {"a", "b"})}


async def test_server_that_hangs(server: Postgres, store: PruneStore) -> None:
    """Neither start nor end of a prune waits for it."""
    history = History(store)
    await history.load()
    with server.hung():
        assert await history.begin(RUNNING)
        await history.save(DONE)
        with pytest.raises(StorageError, match="no answer in time"):
            await history.load()
    await history.refresh(NOW + 10)
    assert await store.recent(10) == [DONE]
