"""Whose the space on a disk is, when a prune of the build cache did not free enough."""

from __future__ import annotations

import asyncio

from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError
from exporter.model import Snapshot
from exporter.words import count, size

_ASK_TIMEOUT = 20.0


async def whose_space(client: NodeClient, snapshot: Snapshot, pruned: str) -> str:
    """Name what else is on the disk: other builders' caches, orphaned state volumes, images.

    ``pruned``: the builder whose cache it is not; what the snapshot says of it is out of date.
    """
    caches = [c for c in (snapshot.cache.value if snapshot.cache else ()) if c.builder != pruned]
    named = [f"{size(cache.size)} in the cache of builder {cache.builder}" for cache in caches]
    orphans = snapshot.orphans.value if snapshot.orphans else None
    if orphans is not None and orphans.volumes:
        volumes = f"{count(len(orphans.volumes), 'orphaned state volume')} of removed builders"
        named.append(f"{size(orphans.size)} in {volumes}" if orphans.size else volumes)
    if client.engine is not None:
        try:
            async with asyncio.timeout(_ASK_TIMEOUT):
                images = await client.engine.images_size()
            named.append("images" if images is None else f"{size(images)} in images")
        except (NodeError, TimeoutError):
            named.append("images (their size could not be told)")
    found = "; ".join(named) or "nothing of Docker's that could be measured"
    return f"the space is not the build cache's to free. On this node: {found}"
