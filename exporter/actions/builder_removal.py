"""Removing a buildx builder: what goes with it, and what of it other builders have, too.

``docker buildx rm`` forgets the builder even where a node of it was down, and leaves the caches of
containers that are gone. So what is on the nodes is removed by the Engine API, and buildx is left
with the nodes that could not be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from exporter.actions.builder_contexts import unused_contexts
from exporter.actions.builder_merge import same_buildkit
from exporter.actions.builder_plan import Step
from exporter.buildkit.builders import CONTAINER_PREFIX, state_volume
from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError
from exporter.model import BuildxBuilder

# BuildKit has 10 s to end; a volume with many files takes long to go.
_TIMEOUT = 300.0
_SIZE_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Removal:
    """What the removal of a builder means."""

    builder: BuildxBuilder
    singles: Mapping[str, str]
    """Builders over one BuildKit of this one, as ``create --each`` makes them: node by name."""
    shared: Mapping[str, str]
    """By node: another builder that has its BuildKit, which therefore stays."""
    contexts: Mapping[str, str]
    """By node: the Docker context that was made for it, and that nobody else needs."""


def removal(builder: BuildxBuilder, others: Sequence[BuildxBuilder]) -> Removal:
    """Say what the removal means. ``others``: all other builders."""
    singles = {
        other.name: node.name
        for other in others
        for node in builder.nodes
        if other.name.lower().startswith(f"{builder.name.lower()}-")
        if len(other.nodes) == 1 and same_buildkit(other.nodes[0], node)
    }
    rest = [other for other in others if other.name not in singles]
    shared = {
        node.name: other.name
        for node in builder.nodes
        for other in rest
        if any(same_buildkit(node, theirs) for theirs in other.nodes)
    }
    theirs = [node for other in rest for node in other.nodes]
    return Removal(builder, singles, shared, unused_contexts(builder.nodes, theirs))


def steps(removal: Removal, done: Collection[str]) -> list[Step]:
    """Make buildx forget the nodes that are done with, or the whole builder."""
    name = removal.builder.name
    forget = ("buildx", "rm", "--keep-daemon", "--keep-state")
    going = [single for single, node in removal.singles.items() if node in done]
    found = [Step((*forget, single)) for single in going]
    nodes = [node.name for node in removal.builder.nodes]
    if set(nodes) <= set(done):
        found.append(Step((*forget, name)))
    else:
        leave = ("buildx", "create", "--name", name, "--leave", "--node")
        found += [Step((*leave, node)) for node in nodes if node in done]
    contexts = [context for node, context in removal.contexts.items() if node in done]
    return found + [Step(("context", "rm", context)) for context in contexts]


@dataclass(frozen=True, slots=True)
class Removed:
    """What went from a node, and what stayed."""

    container: bool
    """Whether the container was there, and went."""
    volume: str | None
    """The volume with the cache, if there was one."""
    size: int | None
    """Bytes in it; ``None`` where the Engine did not say in time."""


async def remove(
    client: NodeClient, name: str, *, purge: bool, orphan: bool = False
) -> Removed | None:
    """Remove a BuildKit's container from a node, and with ``purge`` its cache.

    ``orphan``: a container that is there is somebody's, and stays, and its cache too: ``None``.

    :raises NodeError: when that can't be done.
    :raises TimeoutError: the same.
    """
    engine = client.engine
    assert engine is not None
    async with asyncio.timeout(_TIMEOUT):
        wanted = f"{CONTAINER_PREFIX}{name}"
        containers = [row for row in await engine.containers(wanted) if row.name == wanted]
        if containers and orphan:
            return None
        volume = state_volume(name) if await engine.volume_exists(state_volume(name)) else None
        size = await _size(client, volume) if volume else None
        for row in containers:
            await engine.remove_container(row.id)
        if purge and volume:
            await engine.remove_volume(volume)
        return Removed(bool(containers), volume, size)


async def _size(client: NodeClient, volume: str) -> int | None:
    assert client.engine is not None
    try:
        async with asyncio.timeout(_SIZE_TIMEOUT):
            return (await client.engine.volume_sizes()).get(volume)
    except (NodeError, TimeoutError):
        return None
