"""What the rest of the daemon may ask of pruning, and what is known at the start."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from exporter.actions.history import History
from exporter.errors import StorageError
from exporter.exposition.prunes import PruneMetrics
from exporter.model import NodeSpec, UnixEndpoint
from exporter.prunes import Outcome, PruneRecord
from exporter.pruning import Decisions, Pruning, open_pruning
from exporter.snapshots import Snapshots
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from tests.actions.facts import NOW, record, settings
from tests.actions.fakes import MemoryStore, clock


class SilentStore(MemoryStore):
    """A database behind a connection that is dead and does not know it."""

    async def recent(self, *wish: Any) -> list[PruneRecord]:
        await asyncio.Event().wait()
        raise AssertionError(wish)


@pytest.mark.virtual_time
async def test_a_database_that_is_silent_is_not_waited_for_long() -> None:
    store = SilentStore()
    decisions = Decisions(PruneMetrics(CollectorRegistry(), ()))
    pruning = Pruning(cast(Any, store), decisions, History(store), [], [], clock)
    async with asyncio.timeout(60):
        with pytest.raises(StorageError, match="no answer in time"):
            await pruning.recent(100)


async def test_last_prunes_are_shown_where_the_daemon_prunes(tmp_path: Path) -> None:
    """Of other nodes nobody would ever hear that a builder is gone."""
    endpoint = UnixEndpoint("/s")
    nodes = [NodeSpec("n1", endpoint, prune=settings()), NodeSpec("n2", endpoint)]
    registry = CollectorRegistry()
    async with open_database(f"sqlite:///{tmp_path}/history.db") as database:
        for node in nodes:
            row = replace(record(NOW), id=node.name, node=node.name, outcome=Outcome.FAILED)
            await PruneStore(database).save(row)
        await open_pruning(
            database,
            [
                cast(Any, SimpleNamespace(client=SimpleNamespace(spec=node), look_again=None))
                for node in nodes
            ],
            Snapshots(nodes),
            cast(Any, None),
            1,
            PruneMetrics(registry, {"n1", "n2"}),
            clock,
            asyncio.Event(),
        )
    shown = [s for metric in registry.collect() for s in metric.samples if "success" in s.name]
    assert [(s.labels["node"], s.value) for s in shown] == [("n1", 0)]
