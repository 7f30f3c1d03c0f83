"""Removing state volumes that no builder uses any more, where the user asked for that.

The Engine itself refuses to remove a volume that a container uses, a stopped one included, so
a builder that came back in the meantime keeps its cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import structlog

from exporter.buildkit.builders import state_volume
from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError, RemoteError, StorageError
from exporter.model import Snapshot
from exporter.words import duration

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_TIMEOUT = 120.0
_STORE_TIMEOUT = 10.0
_TICK = 60.0


class OrphanStore(Protocol):
    """Remembers since when volumes are orphaned, over restarts."""

    async def orphans_since(
        self, node: str, volumes: Sequence[str], now: float
    ) -> Mapping[str, float]:
        """Note which volumes are orphaned now; since when each of them is seen to be."""
        ...

    async def orphan_removed(self, node: str, volume: str, now: float) -> None:
        """Note that a volume was removed."""
        ...


def to_remove(
    since: Mapping[str, float], remove_after: float, wanted: Collection[str] | None, now: float
) -> list[str]:
    """List the volumes to remove: orphaned for long enough, and of no builder that is asked for.

    ``wanted``: the names of the node's configured builders.
    """
    spared = {state_volume(name) for name in wanted or ()}
    return sorted(
        volume
        for volume, first_seen in since.items()
        if now - first_seen >= remove_after and volume not in spared
    )


class OrphanRemover:
    """Watches one node's orphaned volumes and removes them when their time is up."""

    def __init__(
        self,
        client: NodeClient,
        remove_after: float,
        snapshot: Callable[[], Snapshot],
        store: OrphanStore,
        now: Callable[[], float],
        on_removed: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._remove_after = remove_after
        self._snapshot = snapshot
        self._store = store
        self._now = now
        self._on_removed = on_removed
        self._seen_at = 0.0

    @property
    def node(self) -> str:
        """The name of the node."""
        return self._client.spec.name

    async def run(self) -> None:
        """Remove what is due, until cancelled."""
        with structlog.contextvars.bound_contextvars(node=self.node):
            while True:
                try:
                    await self.tick()
                except (NodeError, StorageError, TimeoutError) as error:
                    log.warning("can't remove orphaned volumes now", error=str(error) or "timeout")
                except Exception:  # a bug met on one node must not end all that is done to the farm
                    log.exception("removing orphaned volumes failed unexpectedly")
                await asyncio.sleep(_TICK)

    async def tick(self) -> None:
        """Act once on each look at the volumes: what was not looked at anew is not touched."""
        known = self._snapshot().orphans
        if known is None or known.at <= self._seen_at or self._client.engine is None:
            return
        self._seen_at = known.at
        node = self._client.spec
        async with asyncio.timeout(_STORE_TIMEOUT):
            since = await self._store.orphans_since(node.name, known.value.volumes, known.at)
        for volume in to_remove(since, self._remove_after, node.builders, self._now()):
            age = duration(self._now() - since[volume])
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await self._client.engine.remove_volume(volume)
            except RemoteError as error:
                # One that is in use again, say, does not keep the others.
                log.warning("can't remove an orphaned volume", volume=volume, error=str(error))
                continue
            log.info("orphaned state volume removed", volume=volume, orphaned_for=age)
            self._on_removed(node.name, volume)
            async with asyncio.timeout(_STORE_TIMEOUT):
                await self._store.orphan_removed(node.name, volume, self._now())
