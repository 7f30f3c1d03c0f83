"""Several processes on one file, and one that is killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.prunes import Outcome
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore

# Opens the database as soon as it is told to, claims the same prune, and says whether it got it.
CLAIM = """
import asyncio, json, sys
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from tests.actions.facts import NOW, record

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_database(sys.argv[1]) as database:
        store = PruneStore(database)
        claimed = await store.claim(record(None, id=sys.argv[2], started=NOW), 0.0)
        await store.save(record(id="x" + sys.argv[2], node=sys.argv[2]))
        print(json.dumps(claimed), flush=True)

asyncio.run(main())
"""

# Writes without end, and says so after each time.
WRITE = """
import asyncio, sys
from dataclasses import replace
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from tests.actions.facts import record

async def main():
    async with open_database(sys.argv[1]) as database:
        store = PruneStore(database)
        number = 0
        while True:
            number += 1
            await store.save(record(None, id=str(number), node=f"n{number}"))
            print(number, flush=True)

asyncio.run(main())
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run a program of this project."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/history.db"


async def test_first_openings_at_once(url: str) -> None:
    """Each process finds whole tables, whoever made them; one of them gets the prune."""
    processes = [start(CLAIM, url, str(number)) for number in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(json.loads(line) for line in said) == [False, False, False, True]
    async with open_database(url) as database:
        assert len(await PruneStore(database).recent(10)) == 5


async def test_killed_in_the_middle_of_writing(url: str, tmp_path: Path) -> None:
    """All that was said to be written is there, and the file is whole."""
    process = start(WRITE, url)
    assert process.stdout is not None
    written = 0
    while written < 50:
        written = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    async with open_database(url) as database:
        rows = await PruneStore(database).recent(100_000)
    assert len(rows) >= written
    assert {row.outcome for row in rows} == {Outcome.RUNNING}
    connection = sqlite3.connect(tmp_path / "history.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
