"""``status``: one look at the farm as a table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exporter.cli.look import look_at_all
from exporter.cli.setup import Settings
from exporter.cli.text import share, size
from exporter.model import Snapshot


async def run(settings: Settings) -> int:
    """Print the table; 0 however the nodes are, 2 if there are none."""
    console = Console(highlight=False)
    if not settings.nodes:
        console.print("No nodes. Name some in a configuration file (--config).")
        return 2
    if console.is_terminal:
        with console.status(f"Looking at {len(settings.nodes)} nodes …"):
            snapshots = await look_at_all(settings.nodes)
    else:
        snapshots = await look_at_all(settings.nodes)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("NODE", "STATE", "PLATFORMS", "DISK FREE", "INODES", "BUILDER", "CACHE"):
        table.add_column(name, justify="left", overflow="fold")
    for snapshot in snapshots:
        _add(table, snapshot)
    console.print(table)
    return 0


def _add(table: Table, snapshot: Snapshot) -> None:
    reach = snapshot.reachability
    failure = reach.value.failure if reach else None
    if failure is None:
        state = Text("up", style="green")
    else:
        state = Text(f"{failure.layer}: {failure.reason}", style="red")
    disk = snapshot.disk.value if snapshot.disk else None
    free = f"{size(disk.available)} ({share(disk.available, disk.size)})" if disk else "-"
    inodes = share(disk.inodes_free, disk.inodes) if disk else "-"
    selected = [b for b in _builders(snapshot) if b[1]] or [("-", True)]
    caches = {cache.builder: cache for cache in (snapshot.cache.value if snapshot.cache else ())}
    for row, (builder, _) in enumerate(selected):
        cache = size(caches[builder].size) if builder in caches else "-"
        first = (snapshot.node.name, state, _native(snapshot), free, inodes)
        table.add_row(*(first if row == 0 else [""] * len(first)), builder, cache)


def _builders(snapshot: Snapshot) -> list[tuple[str, bool]]:
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    return [(worker.builder.name, worker.builder.selected) for worker in workers]


def _native(snapshot: Snapshot) -> str:
    """Native platforms without their variants, the emulated ones counted."""
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    platforms = {p for w in workers if w.builder.selected for p in w.platforms}
    native = {"/".join(p.platform.split("/")[:2]) for p in platforms if not p.emulated}
    emulated = sum(p.emulated for p in platforms)
    text = ", ".join(sorted(native)) or "-"
    return f"{text} (+{emulated} emulated)" if emulated else text
