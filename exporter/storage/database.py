"""One database, brought to the newest tables before its first use: SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from exporter.errors import StorageError

_MIGRATIONS = str(Path(__file__).parent / "migrations")
_BUSY_TIMEOUT = 5.0
# Another process may be at the migrations.
_OPEN_TIMEOUT = 30.0
_STATEMENT_TIMEOUT = 10.0
# Any number that no other program uses for a lock in the same database.
_LOCK = text("SELECT pg_advisory_xact_lock(1652911204)")


class Database:
    """An open database. ``engine`` is SQLAlchemy's, asynchronous."""

    def __init__(self, engine: AsyncEngine, shown: str) -> None:
        self.engine = engine
        self.shown = shown
        """The URL without its password."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for what is to happen wholly or not at all.

        :raises StorageError: when it can't be had, or a statement fails.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise _storage_error(error, self.shown) from error

    async def close(self) -> None:
        """End all connections."""
        await self.engine.dispose()


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Open the database of a URL (``sqlite:///path``, ``postgresql://…``), migrated.

    :raises StorageError: when it can't be opened, or a newer version of the exporter wrote it.
    """
    parsed = _parse(url)
    # Drivers take a password in the query as well.
    shown = parsed.set(query={}).render_as_string(hide_password=True)
    await asyncio.to_thread(_prepare, parsed, shown)
    if parsed.get_backend_name() == "sqlite":
        engine = create_async_engine(
            parsed.set(drivername="sqlite+aiosqlite"), connect_args={"timeout": _BUSY_TIMEOUT}
        )
        event.listen(engine.sync_engine, "connect", _sqlite_settings)
    else:
        engine = create_async_engine(
            parsed.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_timeout=_STATEMENT_TIMEOUT,
            connect_args=_postgresql_settings(),
        )
    database = Database(engine, shown)
    try:
        yield database
    finally:
        await database.close()


def exists(url: str) -> bool:
    """Tell whether there may be something in the database: a file that is not there has nothing.

    :raises StorageError: when that is no database's URL.
    """
    parsed = _parse(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).is_file()


async def locked(connection: AsyncConnection) -> None:
    """Keep other writers out until the transaction ends. SQLite has one writer at a time anyway."""
    if connection.dialect.name == "postgresql":
        await connection.execute(_LOCK)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StorageError("storage.url is not a database's URL") from error


def _prepare(url: URL, shown: str) -> None:
    """Migrate. Blocks."""
    sqlite = url.get_backend_name() == "sqlite"
    try:
        if sqlite:
            engine = create_engine(
                url.set(drivername="sqlite"), connect_args={"timeout": _OPEN_TIMEOUT}
            )
            _make_private_file(url)
            _make_ready(engine)
        else:
            engine = create_engine(
                url.set(drivername="postgresql+psycopg"), connect_args=_postgresql_settings()
            )
    except ImportError as error:
        raise StorageError(
            "PostgreSQL needs another package: pip install 'buildfarm-exporter[postgresql]'"
        ) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(f"{shown}: {error.strerror or error}{where}") from error
    try:
        with engine.begin() as connection:
            if not sqlite:
                connection.execute(_LOCK)
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", _MIGRATIONS.replace("%", "%%"))
            _refuse_newer(connection, config, shown)
            command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError) as error:
        raise _storage_error(error, shown) from error
    finally:
        engine.dispose()


def _refuse_newer(connection: Any, config: Config, shown: str) -> None:
    if not inspect(connection).has_table("alembic_version"):
        return
    at = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise StorageError(
            f"{shown}: a newer version of the exporter wrote it (tables {at}); use that version, "
            "or another storage.url"
        )


def _make_private_file(url: URL) -> None:
    """Make the file with its directory, for the user alone: it tells what a farm builds."""
    if url.database in (None, "", ":memory:"):
        raise OSError("names no file; write sqlite:///path")
    path = Path(str(url.database))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _make_ready(engine: Engine) -> None:
    """Make SQLite's transactions hold tables too: a migration happens wholly, once, or not."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers not wait for a writer, from now on. The file keeps that.

    SQLite itself does not wait when several processes do this at once.
    """
    deadline = time.monotonic() + _OPEN_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _sqlite_settings(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    # With WAL a killed process still leaves a whole file.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _postgresql_settings() -> dict[str, Any]:
    milliseconds = int(_STATEMENT_TIMEOUT * 1000)
    return {
        "connect_timeout": int(_STATEMENT_TIMEOUT),
        "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
    }


def _storage_error(error: Exception, shown: str) -> StorageError:
    """Translate an exception of SQLAlchemy or of a driver. ``shown``: which database."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return StorageError(f"{shown}: {said[0] if said else type(error).__name__}")
