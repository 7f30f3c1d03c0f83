"""``builder create``: a buildx builder as the configuration describes it."""

from __future__ import annotations

import os
import socket
import time
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from exporter import logs
from exporter.actions.builder_contexts import context_steps
from exporter.actions.builder_docker import (
    StepError,
    boot,
    buildkits,
    carry_out,
    command,
    hint,
    unreachable,
)
from exporter.actions.builder_merge import Wish, taken_over
from exporter.actions.builder_nodes import (
    UnfitError,
    buildx_nodes,
    check_name,
    single_name,
)
from exporter.actions.builder_plan import NEW, Plan, Step, beside, plan, plan_single
from exporter.cli import process, terminal
from exporter.cli.builder_report import called, remark, report, stopped
from exporter.cli.look import look_at_all
from exporter.cli.nodes import connected, named
from exporter.cli.route import latest_canaries
from exporter.cli.setup import Settings
from exporter.config.buildx import Store, StoreError
from exporter.config.discover import home_directory
from exporter.dockercli import DockerCli, DockerCliError
from exporter.errors import StorageError
from exporter.model import BuildxNode, Driver, NodeSpec, Snapshot
from exporter.routing import order
from exporter.routing.ranking import LeftOut
from exporter.words import count

DEFAULT_NAME = "farm"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for."""

    name: str | None
    nodes: tuple[str, ...]
    by_route: bool
    each: bool
    use: bool
    skip_unreachable: bool
    options: tuple[str, ...]
    config: Path | None
    dry_run: bool


def main(settings: Settings, asked: Asked) -> int:
    """Check what was asked for, and do it; the exit code."""
    try:
        specs = named(settings, asked.nodes) or list(settings.nodes)
        if not specs:
            raise ValueError("no nodes; name some in the configuration file")
        name = builder_name(settings, asked.name)
        options = dict(_option(text) for text in asked.options)
        config = _read(asked.config)
        driver, nodes = buildx_nodes(specs, options)
        store = open_store()
        check_name(name, set(store.contexts.names()[0]) - set(store.names()))
    except (ValueError, UnfitError) as error:
        typer.echo(str(error), err=True)
        return 2
    logs.configure("warning", "auto")
    wish = Wish(name, driver, nodes, asked.by_route, asked.config and asked.config.absolute())
    work = _Create(settings, asked, store, wish, config)
    try:
        return process.run(work.run())
    except (DockerCliError, StoreError, UnfitError) as error:
        typer.echo(str(error), err=True)
        return 1


def open_store() -> Store:
    """Open the user's own buildx store."""
    return Store(os.environ, socket.gethostname(), home_directory(os.environ))


def builder_name(settings: Settings | None, name: str | None) -> str:
    """Say which builder is meant.

    :raises ValueError: when that is not clear.
    """
    found = {name} if name else set()
    if settings is not None and not found:
        found = set(settings.buildx_builders)
        found |= {settings.multiarch.builder} if settings.multiarch else set()
    if len(found) > 1:
        raise ValueError(f"which builder? The configuration names {', '.join(sorted(found))}")
    if not found and settings is None:
        raise ValueError("which builder? Name it, or a configuration file: --config FILE")
    return found.pop() if found else DEFAULT_NAME


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"--driver-opt: '{text}' is not of the form K=V")
    return key, value


def _read(config: Path | None) -> bytes:
    """Read BuildKit's configuration, which buildx would only complain of half-way."""
    if config is None:
        return b""
    try:
        data = config.read_bytes()
        tomllib.loads(data.decode())
    except OSError as error:
        raise ValueError(f"--buildkitd-config: {config}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"--buildkitd-config: {config} is not TOML: {error}") from error
    return data


@dataclass(slots=True)
class _Create:
    settings: Settings
    asked: Asked
    store: Store
    wish: Wish
    config: bytes

    async def run(self) -> int:
        """Do it; the exit code."""
        out, docker = terminal.console(), DockerCli()
        await docker.buildx_version()
        wish = await self._ordered(out) if self.asked.by_route else self.wish
        groups = [self.store.group(name) for name in self.store.names()]
        wish = taken_over(wish, [node for group in groups if group for node in group.nodes])
        main = plan(wish, self.store.group(wish.name), self.config)
        if self.asked.skip_unreachable and (failed := await self._skipped(docker, main)):
            wish = replace(wish, nodes=tuple(n for n in wish.nodes if n.name not in failed))
            if not wish.nodes:
                raise UnfitError(["none of the nodes can be reached"])
            main = plan(wish, self.store.group(wish.name), self.config)
        singles = self._singles(wish, main) if self.asked.each else []
        steps = self._steps(main, singles)
        dry = self.asked.dry_run
        if steps and not dry and not await self._reachable(docker, main):
            return 1
        new = [fate.node for fate in main.fates if fate.done in NEW]
        if self.wish.driver is Driver.CONTAINER:
            main = beside(main, await buildkits(docker, new), made=not dry)
        if dry:
            remark(main)
            for step in steps:
                out.print(Text(command(step)), soft_wrap=True)
            return 0
        try:
            await carry_out(docker, steps)
        except StepError as error:
            stopped(error)
            return 1
        report(out, [main, *singles], steps)
        remark(main)
        return await self._boot(out, docker, main)

    async def _skipped(self, docker: DockerCli, main: Plan) -> Collection[str]:
        """Name the nodes to do without, of those that the builder does not have yet."""
        new = [fate.node for fate in main.fates if fate.done in NEW]
        failed = await unreachable(docker, new, connected)
        for node in new:
            if why := failed.get(node.name):
                typer.echo(
                    f"note: {called(node)} is left out: docker can't reach it: {why}", err=True
                )
        return failed

    async def _ordered(self, out: Console) -> Wish:
        """Put the nodes in order, the best one for their platforms first."""
        began = time.time()
        specs = [node.spec for node in self.wish.nodes if node.spec]
        snapshots = await look_at_all(specs, out)
        try:
            canaries = await latest_canaries(self.settings.storage_url)
        except StorageError as error:
            typer.echo(f"note: what canary builds said can't be read: {error}", err=True)
            canaries = {}
        places = order(snapshots, _platforms(snapshots), began, canaries)
        for place in places:
            if isinstance(place, LeftOut):
                typer.echo(f"note: {place.node} comes last: {place.why}", err=True)
        names = [place.node for place in places]
        by_name = {node.spec.name: node for node in self.wish.nodes if node.spec}
        return replace(self.wish, nodes=tuple(by_name[name] for name in names))

    def _singles(self, wish: Wish, main: Plan) -> list[Plan]:
        """Plan a builder of one node each, over the BuildKit that the builder of all has."""
        expected = {node.spec.name: node.platforms for node in wish.nodes if node.spec}
        plans = []
        for node in main.nodes:
            if not self._is_ours(node) or node.spec is None:
                continue
            name = single_name(wish.name, node.spec)
            if name != f"{wish.name}-{node.spec.name}":
                typer.echo(f"note: the builder of {node.spec.name} alone is {name}", err=True)
            alone = replace(node, platforms=expected[node.spec.name])
            plans.append(
                plan_single(replace(wish, name=name, nodes=(alone,)), self.store.group(name))
            )
        return plans

    def _steps(self, main: Plan, singles: Sequence[Plan]) -> list[Step]:
        ours = [node for node in main.nodes if self._is_ours(node)]
        steps = context_steps(ours, self._context_state)
        steps += [step for one in (main, *singles) for step in one.steps]
        if self.asked.use and self.store.current() != main.name:
            steps.append(Step(("buildx", "use", main.name)))
        return steps

    def _is_ours(self, node: BuildxNode) -> bool:
        """Tell whether a node of the builder is of the configuration."""
        return any(node.spec is wished.spec for wished in self.wish.nodes)

    def _context_state(self, name: str, spec: NodeSpec) -> bool | None:
        """Tell whether a Docker context is as the node needs it; ``None``: there is none."""
        contexts = self.store.contexts
        if name not in contexts.names()[0]:
            return None
        try:
            return contexts.leads_to(name, spec.endpoint)
        except StoreError:
            return False

    async def _reachable(self, docker: DockerCli, main: Plan) -> bool:
        failed = await unreachable(docker, main.nodes, connected)
        for fate in main.fates:
            node = fate.node
            if node.name not in failed:
                continue
            said = [f"{called(node)}: docker can't reach it: {failed[node.name]}"]
            said += [text] if node.spec and (text := hint(node.spec)) else []
            without = "name the other NODEs to do without it"
            if fate.done not in NEW:
                without = f"docker buildx create --name {main.name} --leave --node {node.name}"
            said.append(f"buildx changes no builder with a node that is down; {without}")
            typer.echo("\n  ".join(said), err=True)
        if failed:
            typer.echo("Nothing was changed.", err=True)
        return not failed

    async def _boot(self, out: Console, docker: DockerCli, main: Plan) -> int:
        failed = await boot(docker, main.name, lambda line: typer.echo(line, err=True))
        for node in main.nodes:
            if node.name in failed:
                out.print(
                    Text(f"{called(node)}: {node.name} does not run: {failed[node.name]}", "red")
                )
        if failed:
            return int(not self.asked.skip_unreachable or len(failed) == len(main.nodes))
        running = (
            f"All {count(len(main.nodes), 'node')} run." if len(main.nodes) > 1 else "It runs."
        )
        out.print(f"{running} docker buildx build --builder {main.name} builds with it.")
        return 0


def _platforms(snapshots: Sequence[Snapshot]) -> list[str]:
    """What the farm is there to build: as configured, else what its nodes are native to."""
    expected = [platform for snapshot in snapshots for platform in snapshot.node.platforms]
    native = [
        platform.platform
        for snapshot in snapshots
        if snapshot.workers
        for worker in snapshot.workers.value.workers
        for platform in worker.platforms
        if not platform.emulated
    ]
    return list(dict.fromkeys(expected or native))
