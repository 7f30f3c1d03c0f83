"""``check``: every node layer by layer, and what to do about what does not answer."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from exporter.cli.advice import advice
from exporter.cli.look import look_at_all
from exporter.cli.setup import Settings
from exporter.cli.text import count, day, share, size
from exporter.model import Failure, Snapshot, Workers

_INDENT = 17


async def run(settings: Settings) -> int:
    """Check all nodes; 1 if one fails, 2 if there are none."""
    console = Console(highlight=False)
    console.print(f"Configuration: {settings.source}: {count(len(settings.nodes), 'node')}, valid.")
    for remark in settings.remarks:
        console.print(Text(f"! {remark}", style="yellow"))
    if not settings.nodes:
        console.print("There is nothing to check.")
        return 2
    snapshots = await look_at_all(settings.nodes)
    for snapshot in snapshots:
        _print(console, snapshot)
    bad = [snapshot.node.name for snapshot in snapshots if not _is_well(snapshot)]
    console.print()
    if bad:
        console.print(f"{count(len(bad), 'node')} of {len(snapshots)} with failures: ", end="")
        console.print(", ".join(bad), style="red", markup=False)
        return 1
    console.print(f"All {count(len(snapshots), 'node')} well." if len(snapshots) > 1 else "Well.")
    return 0


def _is_well(snapshot: Snapshot) -> bool:
    return all(state.success for state in snapshot.collectors.values()) and bool(
        snapshot.reachability and snapshot.reachability.value.up
    )


def _print(console: Console, snapshot: Snapshot) -> None:
    console.print()
    console.print(Text.assemble((snapshot.node.name, "bold"), f"  {snapshot.node.endpoint.url}"))
    for name, failure, said in _lines(snapshot):
        mark, style = ("ok", "green") if failure is None else ("FAIL", "red")
        line = Text.assemble(f"  {name:<13}", (mark, style), "  " if mark == "ok" else " ")
        body = said if failure is None else f"{failure.reason}: {failure.detail}"
        console.print(line, end="")
        _print_beside(console, body, _INDENT + len(mark))
        if failure is not None:
            console.print(
                Padding(Text(f"-> {advice(snapshot.node, failure)}"), (0, 0, 0, _INDENT + 2))
            )


def _print_beside(console: Console, text: str, column: int) -> None:
    """Print ``text`` from the column on, wrapped there."""
    lines = Text(text).wrap(console, max(console.width - column, 20))
    for number, line in enumerate(lines):
        console.print(line if number == 0 else Padding(line, (0, 0, 0, column)))


def _lines(snapshot: Snapshot) -> Iterator[tuple[str, Failure | None, str]]:
    """What to print: a name, the failure if there is one, else what was found."""
    assert snapshot.reachability is not None
    reach = snapshot.reachability.value
    for layer, up in reach.layers.items():
        if up:
            yield layer, None, _layer_text(snapshot, layer)
        else:
            yield layer, reach.failure, ""
            return  # what is above can't be known
    for name, state in snapshot.collectors.items():
        if name != "reachability":
            yield name, state.error, _found(snapshot, name)


def _layer_text(snapshot: Snapshot, layer: str) -> str:
    workers = snapshot.workers.value if snapshot.workers else None
    match layer:
        case "transport":
            reach = snapshot.reachability
            trip = reach.value.round_trip if reach else None
            return "" if trip is None else f"connected and answered within {trip * 1000:.0f} ms"
        case "engine" if workers and workers.engine:
            engine = workers.engine
            return (
                f"Docker {engine.version} (API {engine.api_version}), {engine.os}/{engine.arch}, "
                f"{engine.root}"
            )
        case "buildkit" if workers:
            return "; ".join(
                f"{worker.builder.name} {worker.version or '(version not told)'}"
                + ("" if worker.builder.selected else " (not selected)")
                for worker in workers.workers
            )
    return ""


def _found(snapshot: Snapshot, collector: str) -> str:
    match collector:
        case "workers" if snapshot.workers:
            return _platforms(snapshot.workers.value)
        case "disk" if snapshot.disk:
            disk = snapshot.disk.value
            return (
                f"{disk.path}: {size(disk.available)} of {size(disk.size)} free "
                f"({share(disk.available, disk.size)}), inodes "
                f"{share(disk.inodes_free, disk.inodes)} free"
            )
        case "cache" if snapshot.cache:
            return "; ".join(
                f"{cache.builder} {size(cache.size)} in "
                f"{count(sum(kind.records for kind in cache.types.values()), 'record')}, "
                f"{size(cache.reclaimable)} reclaimable"
                for cache in snapshot.cache.value
            )
        case "orphans" if snapshot.orphans:
            orphans = snapshot.orphans.value
            if not orphans.volumes:
                return "no state volume without its builder"
            held = "" if orphans.size is None else f", {size(orphans.size)}"
            return f"{', '.join(orphans.volumes)}{held}: no container uses them"
        case "certificates" if snapshot.certificates:
            ends = snapshot.certificates.value
            return ", ".join(
                f"{side} certificate valid until {day(end)}"
                for side, end in (("server", ends.server), ("client", ends.client))
                if end is not None
            )
    return ""


def _platforms(workers: Workers) -> str:
    platforms = {p for w in workers.workers if w.builder.selected for p in w.platforms}
    native = sorted(p.platform for p in platforms if not p.emulated)
    emulated = sorted(p.platform for p in platforms if p.emulated)
    text = f"native {', '.join(native) or 'none'}"
    return text + (f"; emulated {', '.join(emulated)}" if emulated else "")
