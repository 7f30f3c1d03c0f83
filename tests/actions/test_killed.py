"""A daemon that is killed in the middle of a prune, and the one that is started after it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from exporter.actions.history import History
from exporter.actions.policy import decide
from exporter.prunes import LEASE, Outcome, PruneRecord, Verdict
from exporter.storage.database import open_database
from exporter.storage.prunes import INTERRUPTED_NOTE, PruneStore
from tests.actions.facts import FARM0, cache, settings, snapshot

PRUNE = """
import asyncio, sys, time
from exporter.actions.execute import Target, execute
from exporter.actions.history import History
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from tests.actions.fakes import REQUEST, FakeBuilder, FakeNode
from tests.actions.facts import FARM0

async def main():
    async with open_database(sys.argv[1]) as database:
        node = FakeNode({"farm0": FakeBuilder(steps=[1, 1000.0])})
        await execute(
            Target(node.client, FARM0, node.look_at_disk),
            REQUEST,
            History(PruneStore(database)),
            time.time,
            on_progress=lambda _: print("pruning", flush=True),
        )

asyncio.run(main())
"""


async def test_killed_and_started_again(tmp_path: Path) -> None:
    """One record, which ends as interrupted, heard of once; no second prune before the cooldown."""
    url = f"sqlite:///{tmp_path}/history.db"
    process = subprocess.Popen(
        [sys.executable, "-c", PRUNE, url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert "pruning\n" in iter(process.stdout.readline, "")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    async with open_database(url) as database:
        store = PruneStore(database)
        (left,) = await store.recent(10)
        assert left.outcome is Outcome.RUNNING

        ended: list[PruneRecord] = []
        history = History(store, ended.append)
        await history.load()
        verdicts = []
        for seconds in (1, LEASE + 1, LEASE + 20, 1799, 1800):
            now = left.seen_at + seconds
            await history.refresh(now)
            known = snapshot(cache(at=now), disk_at=now)
            verdicts.append(decide(known, FARM0, settings(), history.latest, now).verdict)
        assert verdicts == [
            Verdict.WAIT_TURN,
            Verdict.COOLDOWN,
            Verdict.COOLDOWN,
            Verdict.COOLDOWN,
            Verdict.PRUNE,
        ]
        (record,) = await store.recent(10)
        assert (record.outcome, record.note) == (Outcome.INTERRUPTED, INTERRUPTED_NOTE)
        assert record.ended_at == left.seen_at
        assert ended == [record]
