"""What the prune policy says of a farm that was looked at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from exporter.actions.policy import decide
from exporter.cli.setup import Settings
from exporter.model import Snapshot
from exporter.prunes import BuilderKey, Decision, PruneRecord


async def decisions(settings: Settings, snapshots: Sequence[Snapshot]) -> list[Decision]:
    """Decide on each selected builder as the daemon would, by the same history.

    :raises StorageError: when there is a history, and it can't be read.
    """
    pruned = [snapshot for snapshot in snapshots if snapshot.node.prune is not None]
    if not pruned:
        return []
    latest = await _history(settings.storage_url)
    return [
        decide(snapshot, worker.builder, snapshot.node.prune, latest, time.time())
        for snapshot in pruned
        for worker in (snapshot.workers.value.workers if snapshot.workers else ())
        if worker.builder.selected and snapshot.node.prune is not None
    ]


async def _history(url: str) -> dict[BuilderKey, PruneRecord]:
    """The latest prune of each builder; none where there is no history yet."""
    from exporter.storage.database import exists, open_database  # noqa: PLC0415 - a slow import
    from exporter.storage.prunes import PruneStore  # noqa: PLC0415 - the same

    if not exists(url):
        return {}
    async with open_database(url) as database:
        return {record.key: record for record in await PruneStore(database).latest()}
