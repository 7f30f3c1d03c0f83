"""``prune``: shrink caches now, by the same code as the daemon's."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import typer
from rich.console import Console

from exporter import logs
from exporter.actions.execute import Target, execute
from exporter.actions.history import History
from exporter.actions.preview import would_go
from exporter.buildkit.node import NodeClient
from exporter.buildkit.records import total
from exporter.cli import process, terminal
from exporter.cli.nodes import connected, named
from exporter.cli.progress import PruneProgress
from exporter.cli.prune_report import Found, nothing, preview, tell
from exporter.cli.setup import Settings
from exporter.collectors import disk
from exporter.config.nodes import threshold
from exporter.config.units import parse_size
from exporter.errors import NodeError, StorageError
from exporter.fetch import Fetcher
from exporter.model import Builder, Disk, NodeSpec, Threshold
from exporter.prunes import Outcome, PruneRequest, Trigger
from exporter.storage.database import open_database
from exporter.storage.prunes import PruneStore
from exporter.words import size

_ASK_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for."""

    keep: Threshold | None
    """``None``: what the configuration says."""
    empty: bool = False
    dry_run: bool = False


def main(
    settings: Settings,
    names: Sequence[str],
    keep_storage: str | None,
    dry_run: bool,
    empty: bool,
    yes: bool,
) -> int:
    """Check what was asked for, and do it; the exit code."""
    try:
        nodes = named(settings, names) or _unnamed(settings.nodes)
    except ValueError as error:
        return _usage(str(error))
    if not nodes:
        return _usage("no nodes; name some in a configuration file (--config)")
    if empty and keep_storage is not None:
        return _usage("give either --keep-storage or --empty")
    keep = None
    if keep_storage is not None:
        try:
            keep = threshold(parse_size(keep_storage))
        except ValueError as error:
            return _usage(f"--keep-storage: {error}")
        if keep.of(1 << 40) == 0:
            return _usage(
                "--keep-storage: that would keep nothing; to empty the cache, say --empty"
            )
    unsaid = [node.name for node in nodes if node.prune is None]
    if unsaid and keep is None and not empty:
        return _usage(
            f"how much to keep on {', '.join(unsaid)}? Give --keep-storage, or prune.keep_storage "
            "in the configuration"
        )
    if empty and not dry_run and not yes:
        where = ", ".join(node.name for node in nodes)
        if not sys.stdin.isatty():
            return _usage(f"--empty would empty the caches on {where}; say --yes as well")
        typer.confirm(f"Empty the build caches on {where}?", abort=True)
    logs.configure("warning", "auto")
    try:
        return process.run(run(settings, nodes, Wish(keep, empty, dry_run)))
    except StorageError as error:
        typer.echo(f"can't open the history: {error}", err=True)
        return 1
    except asyncio.CancelledError:
        return 130


def _unnamed(nodes: Sequence[NodeSpec]) -> list[NodeSpec]:
    """Which nodes are meant where none is named: as the daemon, or all where it prunes none."""
    pruned = [node for node in nodes if node.prune is not None]
    if pruned and (rest := [node.name for node in nodes if node.prune is None]):
        typer.echo(f"left out, as the configuration does: {', '.join(rest)}", err=True)
    return pruned or list(nodes)


def _usage(problem: str) -> int:
    typer.echo(problem, err=True)
    return 2


async def run(settings: Settings, nodes: Sequence[NodeSpec], wish: Wish) -> int:
    """Prune the selected builders of the nodes, one after the other; the exit code."""
    console = terminal.console()
    failed = False
    async with AsyncExitStack() as stack:
        history = None
        if not wish.dry_run:
            database = await stack.enter_async_context(open_database(settings.storage_url))
            history = History(PruneStore(database))
            await history.load()
            await history.refresh(time.time())
        fetcher = await stack.enter_async_context(Fetcher())
        stop = stack.enter_context(_Interruptible(console))
        for spec in nodes:
            try:
                async with connected(spec) as client:
                    for builder in await _selected(client):
                        if stop.wanted:
                            console.print("Stopped; what was not begun is left as it was.")
                            return 130
                        found = await _look(client, builder, fetcher)
                        done = await _prune(console, found, wish, history, fetcher)
                        failed = failed or not done
            except (NodeError, TimeoutError) as error:
                said = str(error) or "no answer in time"
                console.print(f"{spec.name}: {said}", style="red")
                failed = True
    return int(failed)


async def _prune(
    console: Console, found: Found, wish: Wish, history: History | None, fetcher: Fetcher
) -> bool:
    """Prune one builder, or show what would go. False: it was refused, or failed."""
    name = f"{found.node.spec.name}/{found.builder.name}"
    settings = found.node.spec.prune
    keep = wish.keep or (settings.keep_storage if settings else None)
    everything = settings is not None and settings.all
    bytes_ = 0 if keep is None or wish.empty else keep.of(found.disk.size)
    if refusal := _refusal(bytes_, found.disk, wish):
        console.print(f"{name}: {refusal}", style="red")
        return False
    going = would_go(found.records, bytes_, all=everything, matching=found.matching)
    if history is None:
        preview(console, name, going, found, bytes_)
        return True
    if not going:
        console.print(f"{name}: {nothing(found, bytes_)}")
        return True
    request = PruneRequest(
        trigger=Trigger.MANUAL,
        reason="by hand",
        keep=bytes_,
        all=everything,
        filters=settings.filters if settings else (),
        empty=wish.empty,
    )
    with PruneProgress(console, name, total(going)) as progress:
        record = await execute(
            Target(found.node, found.builder, partial(disk.read, found.node, fetcher.text)),
            request,
            history,
            time.time,
            on_progress=progress.update,
        )
    if record is None:
        console.print(f"{name}: a prune of this builder is running already", style="red")
        return False
    tell(console, name, record, found.disk)
    return record.outcome is Outcome.OK


def _refusal(keep: int, disk_: Disk, wish: Wish) -> str | None:
    if wish.empty:
        return None
    if keep <= 0:
        return "that would keep nothing; to empty the cache, say --empty"
    if keep >= disk_.size:
        return f"the filesystem has {size(disk_.size)}; {size(keep)} can't be kept on it"
    return None


async def _selected(client: NodeClient) -> list[Builder]:
    async with asyncio.timeout(_ASK_TIMEOUT):
        return [builder for builder in await client.builders() if builder.selected]


async def _look(client: NodeClient, builder: Builder, fetcher: Fetcher) -> Found:
    async with asyncio.timeout(_ASK_TIMEOUT):
        control = client.control(builder)
        filters = client.spec.prune.filters if client.spec.prune else ()
        matching = None
        if filters:
            matching = frozenset(record.ID for record in await control.disk_usage(filters))
        return Found(
            node=client,
            builder=builder,
            disk=await disk.read(client, fetcher.text),
            records=await control.disk_usage(),
            matching=matching,
        )


class _Interruptible:
    """The first Ctrl-C lets the running prune end; the second one leaves at once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._task = asyncio.current_task()
        self.wanted = False

    def __enter__(self) -> _Interruptible:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    def _on_signal(self) -> None:
        if self.wanted and self._task is not None:
            self._task.cancel()
            return
        self.wanted = True
        self._console.print(
            "Ctrl-C: the prune that runs is let end (BuildKit does not like to be interrupted); "
            "once more to leave at once."
        )
