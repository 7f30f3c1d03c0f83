"""The nodes that a command acts on, and the way to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from exporter.buildkit.node import NodeClient
from exporter.cli.setup import Settings
from exporter.model import NodeSpec
from exporter.transports import open_transport


def named(settings: Settings, names: Sequence[str]) -> list[NodeSpec]:
    """Find the nodes of these names, each once.

    :raises ValueError: when there is no such node; its text says which there are.
    """
    known = {node.name: node for node in settings.nodes}
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(known) or "none"
        raise ValueError(f"no node is called {', '.join(unknown)}; there are: {there}")
    return [known[name] for name in dict.fromkeys(names)]


@asynccontextmanager
async def connected(spec: NodeSpec) -> AsyncIterator[NodeClient]:
    """Give a node, its connections ended afterwards."""
    client = NodeClient(spec, open_transport(spec, Random(0)))  # noqa: S311 - no secret
    try:
        yield client
    finally:
        await client.close()
