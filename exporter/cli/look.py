"""Looking at all nodes of a farm once, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Console

from exporter.app import look_once
from exporter.cli.terminal import busy
from exporter.model import NodeSpec, Snapshot
from exporter.words import count

UNTOLD = "this version of BuildKit does not tell (Engine before 24.0)"
"""What there is to say of a builder's builds when it keeps no history."""

_AT_ONCE = 16


async def look_at_all(nodes: Sequence[NodeSpec], out: Console) -> list[Snapshot]:
    """Look at every node; snapshots in the order of ``nodes``. A terminal shows that it goes on."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def look(node: NodeSpec) -> Snapshot:
        async with places:
            return await look_once(node)

    with busy(out, f"Looking at {count(len(nodes), 'node')}"):
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(look(node), name=f"look/{node.name}") for node in nodes]
    return [look.result() for look in looks]
