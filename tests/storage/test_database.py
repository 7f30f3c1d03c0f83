"""Opening a database: made, brought to the newest tables, refused with a clear word."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from exporter.errors import StorageError
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from exporter.storage.tables import METADATA
from tests.actions.facts import record


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


async def opened(file: Path) -> None:
    """Open and close."""
    async with open_database(f"sqlite:///{file}"):
        pass


async def test_tables_are_made_from_nothing(file: Path) -> None:
    async with open_database(f"sqlite:///{file}") as database:
        store = PruneStore(database)
        await store.save(record())
        assert await store.latest() == [record()]


async def test_second_opening_finds_what_was_written(file: Path) -> None:
    for number in range(2):
        async with open_database(f"sqlite:///{file}") as database:
            store = PruneStore(database)
            assert len(await store.latest()) == number
            await store.save(record())


async def test_migrations_make_the_tables_that_the_code_knows(file: Path) -> None:
    """A change of tables.py without a migration fails here."""
    await opened(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_file_is_the_users_alone(file: Path) -> None:
    await opened(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    async with open_database(f"sqlite:///{file}") as database:
        await PruneStore(database).save(record())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert len(modes) == 3


async def test_newer_version_is_refused(file: Path) -> None:
    await opened(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '999'"))
    engine.dispose()
    with pytest.raises(StorageError, match=r"a newer version .* wrote it \(tables 999\)"):
        await opened(file)


async def test_migration_that_breaks_off_leaves_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables come wholly or not at all: a second try finds a clean file."""
    monkeypatch.setattr("alembic.op.create_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await opened(file)
    monkeypatch.undo()
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    await opened(file)


def no_database(path: Path) -> Path:
    path.write_text("This is a letter to a friend, and it is long enough to be looked at." * 20)
    return path


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda path: path, "Is a directory"),
        (lambda path: no_database(path / "letter"), "file is not a database"),
        (lambda path: no_database(path / "letter") / "history.db", r"File exists \(.*letter\)"),
        (lambda _: Path("/proc/self/history.db"), "No such file"),
    ],
)
async def test_place_that_can_not_be_used(place: object, said: str, tmp_path: Path) -> None:
    assert callable(place)
    path = place(tmp_path)
    with pytest.raises(StorageError, match=said) as caught:
        await opened(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
async def test_memory_is_no_place_for_a_history(url: str) -> None:
    with pytest.raises(StorageError, match="names no file"):
        async with open_database(url):
            pass


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@127.0.0.1:1/farm",
        "postgresql://me@127.0.0.1:1/farm?password=sesame",
        "postgresql://me:sesame@127.0.0.1:port/farm",
        "postgresql://me:sesame@/farm?host=/nowhere",
        "sesame",
    ],
)
async def test_password_is_in_no_error(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        async with open_database(url):
            pass
    error: BaseException | None = caught.value
    while error is not None:
        assert "sesame" not in str(error)
        error = error.__cause__


async def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"pip install 'buildfarm-exporter\[postgresql\]'"):
        async with open_database("postgresql://me@127.0.0.1:1/farm"):
            pass


@pytest.mark.parametrize("module", ["exporter.cli.check", "exporter.cli.status", "exporter.config"])
def test_commands_without_a_history_do_not_load_the_database(module: str) -> None:
    """SQLAlchemy alone takes as long to load as all the rest."""
    code = f"import sys, {module}; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
