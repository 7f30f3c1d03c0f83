"""State volumes of buildx builders whose container is gone.

``docker buildx rm`` leaves the volume behind when the container was removed before it: gigabytes
that no builder lists and no prune frees.
"""

from __future__ import annotations

import asyncio

from exporter.buildkit.builders import CONTAINER_PREFIX, STATE_SUFFIX
from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look
from exporter.errors import RemoteError
from exporter.model import Orphans


async def collect(client: NodeClient, look: Look) -> Orphans:
    """List the volumes, and measure them only if there are any: that is slow on a busy host."""
    assert client.engine is not None
    names = tuple(
        name
        for name in await client.engine.unused_volumes(CONTAINER_PREFIX)
        if name.startswith(CONTAINER_PREFIX) and name.endswith(STATE_SUFFIX)
    )
    if not names:
        return Orphans((), 0)
    try:
        async with asyncio.timeout_at(look.until):
            sizes = await client.engine.volume_sizes()
    except (TimeoutError, RemoteError):
        # That they are there matters more than how large they are.
        return Orphans(names, None)
    known = [sizes.get(name, -1) for name in names]
    return Orphans(names, sum(known) if min(known) >= 0 else None)


COLLECTOR = Collector(
    "orphans", lambda node: node.collect.orphans, collect, lambda node: not node.remote
)
