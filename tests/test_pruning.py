"""What the rest of the daemon may ask of pruning."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from exporter.actions.history import History
from exporter.errors import StorageError
from exporter.exposition.prunes import PruneMetrics
from exporter.prunes import PruneRecord
from exporter.pruning import Decisions, Pruning
from tests.actions.fakes import MemoryStore, clock

pytestmark = pytest.mark.virtual_time


class SilentStore(MemoryStore):
    """A database behind a connection that is dead and does not know it."""

    async def recent(self, *wish: Any) -> list[PruneRecord]:
        await asyncio.Event().wait()
        raise AssertionError(wish)


async def test_a_database_that_is_silent_is_not_waited_for_long() -> None:
    store = SilentStore()
    decisions = Decisions(PruneMetrics(CollectorRegistry(), ()))
    pruning = Pruning(cast(Any, store), decisions, History(store), [], [], clock)
    async with asyncio.timeout(60):
        with pytest.raises(StorageError, match="no answer in time"):
            await pruning.recent(100)
