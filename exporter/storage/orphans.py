"""Since when state volumes are orphaned, and when they were removed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from exporter.storage.database import Database
from exporter.storage.tables import orphans


class OrphanStore:
    """Reads and writes sightings of orphaned volumes.

    Every method may raise :class:`~exporter.errors.StorageError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orphans_since(
        self, node: str, volumes: Sequence[str], now: float
    ) -> dict[str, float]:
        """Note which volumes are orphaned now; since when each of them is seen to be.

        One that was used again in between, or removed, starts anew.
        """
        here = orphans.c.node == node
        async with self._database.transaction() as connection:
            gone = orphans.c.volume.not_in(list(volumes)) & orphans.c.removed_at.is_(None)
            back = orphans.c.volume.in_(list(volumes)) & orphans.c.removed_at.is_not(None)
            await connection.execute(delete(orphans).where(here, gone | back))
            rows = await connection.execute(
                select(orphans).where(here, orphans.c.removed_at.is_(None))
            )
            since = {row.volume: float(row.first_seen) for row in rows}
            fresh = [
                {"node": node, "volume": volume, "first_seen": now}
                for volume in volumes
                if volume not in since
            ]
            if fresh:
                await connection.execute(insert(orphans), fresh)
        return {volume: since.get(volume, now) for volume in volumes}

    async def orphan_removed(self, node: str, volume: str, now: float) -> None:
        """Note that a volume was removed."""
        statement = (
            update(orphans)
            .where(orphans.c.node == node, orphans.c.volume == volume)
            .values(removed_at=now)
        )
        async with self._database.transaction() as connection:
            await connection.execute(statement)
