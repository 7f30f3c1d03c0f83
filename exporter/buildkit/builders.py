"""Where a node's builders are, and which of them are the selected ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from exporter.docker.engine import Container, Engine
from exporter.model import Builder, Driver

CONTAINER_PREFIX = "buildx_buildkit_"
"""buildx names a docker-container builder's container so; then comes the buildx node's name."""

STATE_SUFFIX = "_state"
"""The container's volume is named as the container, with this behind it."""

EMBEDDED = Builder("docker", Driver.DOCKER)
BARE = Builder("buildkitd", Driver.REMOTE)


async def find_builders(
    engine: Engine, wanted: tuple[str, ...] | None, known: Iterable[Builder]
) -> tuple[Builder, ...]:
    """List the builders on an Engine, with the selected ones marked.

    A container builder that was known and whose container is gone stays in the list, not
    running, as long as its state volume is there: ``docker buildx rm`` takes the volume along, so
    what is left behind was not meant to go.
    """
    rows = await engine.containers(CONTAINER_PREFIX)
    found = {
        name: Builder(name, Driver.CONTAINER, container=row.id, running=row.running)
        for row in rows
        if (name := _builder_name(row)) is not None
    }
    for builder in known:
        if (
            builder.driver is Driver.CONTAINER
            and builder.name not in found
            and await engine.volume_exists(state_volume(builder.name))
        ):
            found[builder.name] = replace(builder, container=None, running=False)
    return select([EMBEDDED, *(found[name] for name in sorted(found))], wanted)


def _builder_name(row: Container) -> str | None:
    # The Engine's filter looks for the text anywhere in the name.
    if not row.name.startswith(CONTAINER_PREFIX):
        return None
    name = row.name.removeprefix(CONTAINER_PREFIX)
    # No two builders of a node have one name: this one goes by its container's.
    return row.name if name == EMBEDDED.name else name


def state_volume(builder: str) -> str:
    """Name the volume in which a container builder has its cache."""
    return f"{CONTAINER_PREFIX}{builder.removeprefix(CONTAINER_PREFIX)}{STATE_SUFFIX}"


def select(builders: Iterable[Builder], wanted: tuple[str, ...] | None) -> tuple[Builder, ...]:
    """Mark the selected builders; a wanted one that is not there is added, not running."""
    builders = tuple(builders)
    if wanted is None:
        containers = {b.name for b in builders if b.driver is Driver.CONTAINER}
        names = containers or {b.name for b in builders}
    else:
        names = set(wanted)
    there = {b.name for b in builders}
    missing = (Builder(name, Driver.CONTAINER, running=False) for name in sorted(names - there))
    return tuple(replace(b, selected=b.name in names) for b in builders) + tuple(missing)
