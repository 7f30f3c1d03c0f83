"""Looking at all nodes of a farm once, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from exporter.app import look_once
from exporter.model import NodeSpec, Snapshot

_AT_ONCE = 16


async def look_at_all(nodes: Sequence[NodeSpec]) -> list[Snapshot]:
    """Look at every node; snapshots in the order of ``nodes``."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def look(node: NodeSpec) -> Snapshot:
        async with places:
            return await look_once(node)

    return await asyncio.gather(*(look(node) for node in nodes))
