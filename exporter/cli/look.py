"""Looking at all nodes of a farm once, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

from rich.console import Console

from exporter.app import look_once
from exporter.model import NodeSpec, Snapshot
from exporter.words import count

_AT_ONCE = 16


async def look_at_all(nodes: Sequence[NodeSpec], out: Console) -> list[Snapshot]:
    """Look at every node; snapshots in the order of ``nodes``. A terminal shows that it goes on."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def look(node: NodeSpec) -> Snapshot:
        async with places:
            return await look_once(node)

    text = f"Looking at {count(len(nodes), 'node')} …"
    with out.status(text) if out.is_terminal else nullcontext():
        async with asyncio.TaskGroup() as group:
            looks = [group.create_task(look(node), name=f"look/{node.name}") for node in nodes]
    return [look.result() for look in looks]
