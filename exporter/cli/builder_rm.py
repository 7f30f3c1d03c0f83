"""``builder rm``: the buildx builder goes; what it has on the nodes with it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from rich.text import Text

from exporter import logs
from exporter.actions.builder_docker import StepError, carry_out
from exporter.actions.builder_nodes import UnfitError, buildx_nodes
from exporter.actions.builder_removal import Removal, Removed, removal, remove, steps
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
        # Buildx may have forgotten it, or never have known: what it has left is known all the same.
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
    if purge and work.visited and not yes:
        what = f"the build caches of {', '.join(node.name for node in work.visited)}"
        if not sys.stdin.isatty():
            typer.echo(f"--purge would remove {what}; say --yes as well", err=True)
            return 2
        typer.confirm(f"Remove {what}?", abort=True)
    logs.configure("warning", "auto")
    try:
        return process.run(work.run())
    except DockerCliError as error:
        typer.echo(str(error), err=True)
        return 1


def _would_be(settings: Settings | None, name: str) -> BuildxBuilder | None:
    """Say what ``create`` would make; ``None`` where that has nothing on the nodes."""
    specs = [spec for spec in settings.nodes if not spec.remote] if settings else []
    return BuildxBuilder(name, *buildx_nodes(specs, {})) if specs else None


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
        if not self.forgotten:
            await docker.buildx_version()
        for kept, other in self.meant.shared.items():
            print_beside(out, Text(f"{kept}  "), f"stays: builder {other} has it, too")
        results = await asyncio.gather(*(self._remove(node) for node in self.visited))
        failed = set()
        for node, result in zip(self.visited, results, strict=True):
            if isinstance(result, str):
                failed.add(node.name)
                print_beside(out, Text(f"{node.name}  ", "red"), f"not removed: {result}")
            else:
                print_beside(out, Text(f"{node.name}  ", "green"), self._told(result))
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

    async def _remove(self, node: BuildxNode) -> Removed | str:
        """Remove a node's BuildKit, or say why that can't be done."""
        spec = next((spec for spec in self.specs if _same_way(spec, node.spec)), node.spec)
        if spec is None:
            return f"{node.endpoint} can't be reached by this exporter"
        try:
            async with connected(spec) as client:
                return await remove(client, node.name, purge=self.purge, orphan=self.forgotten)
        except NodeError as error:
            return str(error)
        except TimeoutError:
            return "no answer in time"

    def _told(self, removed: Removed) -> str:
        gone = "container removed" if removed.container else "its container was gone"
        if removed.volume is None:
            return f"{gone}; no cache was there"
        cache = "its cache" if removed.size is None else f"its cache of {size(removed.size)}"
        if self.purge:
            return f"{gone}; {cache} removed"
        return f"{gone}; {cache} stays, in the volume {removed.volume}"


def _same_way(spec: NodeSpec, other: NodeSpec | None) -> bool:
    return other is not None and spec.endpoint.url.lower() == other.endpoint.url.lower()
