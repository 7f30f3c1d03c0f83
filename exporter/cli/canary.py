"""``canary``: canary builds now, by the same code as the daemon's."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import typer
from rich.console import Console
from rich.text import Text

from exporter import logs
from exporter.actions.canary import CanaryProgress, run_canary
from exporter.actions.canary_history import CanaryHistory
from exporter.actions.canary_plan import Target, nothing_to_build
from exporter.actions.canary_runner import Around, NodeCanaries, Places
from exporter.actions.multiarch import run_multiarch
from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
)
from exporter.cli import process, terminal
from exporter.cli.canary_report import report, report_multiarch
from exporter.cli.look import look_at_all
from exporter.cli.nodes import connected, named
from exporter.cli.progress import CanaryView
from exporter.cli.setup import Settings
from exporter.collectors import disk
from exporter.dockercli import DockerCli
from exporter.errors import StorageError
from exporter.fetch import Fetcher
from exporter.model import CanarySettings, MultiarchSettings, NodeSpec, Snapshot
from exporter.platforms import normalise_platform
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database

_BAD = (CanaryOutcome.FAILED, CanaryOutcome.TIMEOUT, CanaryOutcome.MISSING)
_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "Told to stop"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be built."""

    nodes: tuple[NodeSpec, ...]
    """With the platforms that are to be built on them."""
    multiarch: MultiarchSettings | None


def main(
    settings: Settings, names: Sequence[str], platforms: Sequence[str], multiarch: bool | None
) -> int:
    """Check what was asked for, and do it; the exit code."""
    try:
        wish = _wish(settings, names, platforms, multiarch)
    except ValueError as error:
        typer.echo(str(error), err=True)
        return 2
    logs.configure("error", "auto")  # what came of a build is in the table
    try:
        return process.run(run(settings, wish))
    except asyncio.CancelledError:
        return 130


def _wish(
    settings: Settings, names: Sequence[str], platforms: Sequence[str], multiarch: bool | None
) -> Wish:
    """Read the arguments.

    :raises ValueError: saying what is wrong with them.
    """
    nodes = named(settings, names) or [n for n in settings.nodes if n.canary] or settings.nodes
    if not nodes:
        raise ValueError("no nodes; name some in a configuration file (--config)")
    if multiarch and (names or settings.multiarch is None):
        why = "goes over the whole farm: leave out the names" if names else "needs canary.multiarch"
        raise ValueError(f"--multiarch {why}" + ("" if names else " in the configuration"))
    wanted = tuple(dict.fromkeys(normalise_platform(platform) for platform in platforms))
    whole = settings.multiarch if multiarch or not (names or platforms) else None
    return Wish(
        tuple(replace(node, platforms=wanted or node.platforms) for node in nodes),
        None if multiarch is False else whole,
    )


async def run(settings: Settings, wish: Wish) -> int:
    """Build on all nodes, a few at a time, and tell; the exit code."""
    console = terminal.console()
    async with AsyncExitStack() as stack:
        stack.enter_context(_interruptible(console))
        history = await _history(stack, settings.storage_url)
        snapshots = await look_at_all(wish.nodes, console)
        fetcher = await stack.enter_async_context(Fetcher())
        done: list[CanaryRecord] = []
        places = Places(settings.canary_max_parallel)
        try:
            with CanaryView(console) as view:
                async with asyncio.TaskGroup() as group:
                    builds = [
                        group.create_task(
                            _build(snapshot, places, fetcher, history, view, done),
                            name=f"canary/{snapshot.node.name}",
                        )
                        for snapshot in snapshots
                    ]
        except asyncio.CancelledError:
            report(console, done)
            raise
        records = [record for build in builds for record in build.result()]
        report(console, records)
        for snapshot, build in zip(snapshots, builds, strict=True):
            if not build.result():
                head = Text(f"{snapshot.node.name}: ", "yellow")
                terminal.print_beside(console, head, nothing_to_build(snapshot))
        outcomes = [record.outcome for record in records]
        if wish.multiarch is not None:
            whole = await _build_multiarch(wish.multiarch, console, history)
            report_multiarch(console, whole)
            outcomes.append(whole.outcome)
    return int(any(outcome in _BAD for outcome in outcomes))


async def _history(stack: AsyncExitStack, url: str) -> CanaryHistory | None:
    try:
        database = await stack.enter_async_context(open_database(url))
    except StorageError as error:
        typer.echo(f"the results are not kept, for the history can't be opened: {error}", err=True)
        return None
    return CanaryHistory(CanaryStore(database), lambda _: None, lambda _: None)


async def _build(
    snapshot: Snapshot,
    places: Places,
    fetcher: Fetcher,
    history: CanaryHistory | None,
    view: CanaryView,
    done: list[CanaryRecord],
) -> list[CanaryRecord]:
    """Build the canaries of one node. Each that ended is in ``done`` at once."""

    async def record(ended: CanaryRecord) -> None:
        done.append(ended)
        view.ended(ended.key)
        if history is not None:
            await history.note(ended)

    def progress(target: Target, how_far: CanaryProgress) -> None:
        view.update(target.key, how_far.step)

    settings = snapshot.node.canary or CanarySettings()
    async with connected(snapshot.node) as client:
        around = Around(
            build=run_canary,
            look_at_disk=partial(disk.read, client, fetcher.text),
            places=places,
            record=record,
            now=time.time,
            on_progress=progress,
        )
        # Who asks for it now wants it now; that builds run is told beside the timings.
        settings = replace(settings, skip_while_building=False)
        node = NodeCanaries(client, settings, lambda: snapshot, around)
        return await node.build_all(CanaryTrigger.MANUAL)


async def _build_multiarch(
    settings: MultiarchSettings, console: Console, history: CanaryHistory | None
) -> MultiarchRecord:
    with terminal.busy(console, f"Building on the nodes of {settings.builder}") as say:
        record = await run_multiarch(
            settings,
            trigger=CanaryTrigger.MANUAL,
            now=time.time,
            docker=DockerCli(),
            on_progress=say,
        )
    if history is not None:
        await history.note_multiarch(record)
    return record


@contextmanager
def _interruptible(console: Console) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the builds on the nodes; a second one leaves at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(said: str) -> None:
        leave()
        console.print(f"{said}: the builds are being cancelled on the nodes.")
        task.cancel()

    def leave() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number, said in _SIGNALS.items():
        loop.add_signal_handler(number, on_signal, said)
    try:
        yield
    finally:
        leave()
