"""``builder rm``: the buildx builder goes; what it has on the nodes with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.text import Text

from exporter import logs
from exporter.actions.builder_docker import StepError, carry_out
from exporter.actions.builder_nodes import UnfitError, buildx_nodes
from exporter.actions.builder_removal import Removal, Removed, removal, remove, steps
from exporter.buildkit.builders import state_volume
from exporter.cli import process, terminal
from exporter.cli.builder_create import builder_name, open_store
from exporter.cli.nodes import connected
from exporter.cli.setup import Settings
from exporter.cli.terminal import print_beside
from exporter.config.buildx import StoreError
from exporter.dockercli import DockerCli, DockerCliError
from exporter.errors import NodeError
from exporter.model import BuildxBuilder, BuildxNode, Driver, NodeSpec
from exporter.words import size


def main(settings: Settings | None, name: str | None, *, purge: bool, yes: bool) -> int:
    """Check what was asked for, and do it; the exit code."""
    try:
        name = builder_name(settings, name)
        store = open_store()
        builder = store.group(name)
        others = [store.group(other) for other in store.names() if other != name.lower()]
        made = _would_be(settings, name) if builder is None and purge else None
    except (ValueError, StoreError, UnfitError) as error:
        typer.echo(str(error), err=True)
        return 2
    there = builder or made
    if there is None:
        known = f"are: {', '.join(store.names())}" if store.names() else "is none at all"
        typer.echo(f"there is no builder {name}; there {known}", err=True)
        return 1
    if there.driver not in (Driver.CONTAINER, Driver.REMOTE):
        text = f"builder {name} has the driver {there.driver}; remove it by docker buildx rm {name}"
        typer.echo(text, err=True)
        return 2
    work = _Remove(
        removal(there, [other for other in others if other]),
        settings.nodes if settings else (),
        purge=purge,
        forgotten=builder is None,
    )
    logs.configure("warning", "auto")
    try:
        if not work.forgotten:
            process.run(_check_buildx())
        if purge and work.visited and not yes and not _agreed(work.visited):
            return 2
        return process.run(work.run())
    except DockerCliError as error:
        typer.echo(str(error), err=True)
        return 1


def _would_be(settings: Settings | None, name: str) -> BuildxBuilder | None:
    """Say what a builder that buildx has forgotten, or never knew, may have left on the nodes.

    ``None`` where that is not known: only one name is that of the configuration's own builder. Any
    other is a mistake, or of a builder that may have had other nodes.
    """
    if settings is None or not _is_configured(settings, name):
        return None
    specs = [spec for spec in settings.nodes if not spec.remote]
    return BuildxBuilder(name, *buildx_nodes(specs, {})) if specs else None


def _is_configured(settings: Settings, name: str) -> bool:
    """Tell whether it is the builder that is meant where none is named."""
    try:
        return builder_name(settings, None).lower() == name.lower()
    except ValueError:  # the configuration names several
        return False


async def _check_buildx() -> int:
    await DockerCli().buildx_version()
    return 0


def _agreed(nodes: Sequence[BuildxNode]) -> bool:
    """Say which volumes would go, and ask; false where there is nobody to ask."""
    typer.echo("--purge removes these volumes, and the build caches in them:", err=True)
    for node in nodes:
        typer.echo(f"  {state_volume(node.name)} at {node.endpoint}", err=True)
    if not sys.stdin.isatty():
        typer.echo("Nothing was removed; say --yes as well", err=True)
        return False
    return typer.confirm("Remove them?", abort=True)


@dataclass(frozen=True, slots=True)
class _Remove:
    meant: Removal
    specs: Sequence[NodeSpec]
    """The configured nodes: how they are reached."""
    purge: bool
    forgotten: bool
    """Buildx does not know the builder."""

    @property
    def visited(self) -> list[BuildxNode]:
        """The nodes on which something is removed: a bare buildkitd is not buildx's."""
        if self.meant.builder.driver != Driver.CONTAINER:
            return []
        return [node for node in self.meant.builder.nodes if node.name not in self.meant.shared]

    async def run(self) -> int:
        """Remove it; the exit code."""
        out, docker, name = terminal.console(), DockerCli(), self.meant.builder.name
        for kept, other in self.meant.shared.items():
            print_beside(out, Text(f"{kept}  "), f"stays: builder {other} has it, too")
        gone = await asyncio.gather(*(self._remove(node, out) for node in self.visited))
        failed = {node.name for node, ok in zip(self.visited, gone, strict=True) if not ok}
        done = {node.name for node in self.meant.builder.nodes} - failed
        if not self.forgotten:
            try:
                await carry_out(docker, steps(self.meant, done))
            except StepError as error:
                typer.echo("\n  ".join((f"{error}. Not done:", *error.undone)), err=True)
                return 1
        if failed:
            rest = ", ".join(sorted(failed))
            typer.echo(f"{name} still has {rest}: do it again when they are there.", err=True)
            return 1
        out.print(f"Builder {name} is gone.")
        return 0

    async def _remove(self, node: BuildxNode, out: Console) -> bool:
        """Remove a node's BuildKit, and say what went, or why it can't be done."""
        spec = next((spec for spec in self.specs if _same_way(spec, node.spec)), node.spec)
        why = f"{node.endpoint} can't be reached by this exporter"
        if spec is not None:
            try:
                async with connected(spec) as client:
                    removed = await remove(
                        client, node.name, purge=self.purge, orphan=self.forgotten
                    )
                print_beside(out, Text(f"{node.name}  ", "green"), self._told(removed))
                return True
            except NodeError as error:
                why = str(error)
            except TimeoutError:
                why = "no answer in time"
        print_beside(out, Text(f"{node.name}  ", "red"), f"not removed: {why}")
        return False

    def _told(self, removed: Removed | None) -> str:
        if removed is None:
            return "stays: its container is there, and somebody's"
        gone = "container removed" if removed.container else "its container was gone"
        if removed.volume is None:
            return f"{gone}; no cache was there"
        cache = "its cache" if removed.size is None else f"its cache of {size(removed.size)}"
        if self.purge:
            return f"{gone}; {cache} removed, with the volume {removed.volume}"
        return f"{gone}; {cache} stays, in the volume {removed.volume}"


def _same_way(spec: NodeSpec, other: NodeSpec | None) -> bool:
    return other is not None and spec.endpoint.url.lower() == other.endpoint.url.lower()
