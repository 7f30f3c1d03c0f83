"""``check``: every node layer by layer, and what to do about what does not answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from exporter.cli.advice import advice
from exporter.cli.look import UNTOLD, look_at_all
from exporter.cli.setup import Settings
from exporter.cli.terminal import console, print_beside
from exporter.errors import Layer
from exporter.model import Failure, Snapshot, Workers
from exporter.words import count, day, share, size


async def run(settings: Settings) -> int:
    """Check all nodes; 1 if one fails, 2 if there are none."""
    out = console()
    out.print(f"Configuration: {settings.source}: {count(len(settings.nodes), 'node')}, valid.")
    for remark in settings.remarks:
        print_beside(out, Text("! ", style="yellow"), remark)
    if not settings.nodes:
        out.print("There is nothing to check.")
        return 2
    return report(out, await look_at_all(settings.nodes, out))


def report(out: Console, snapshots: Sequence[Snapshot]) -> int:
    """Print what was found of each node; 1 if one fails."""
    for snapshot in snapshots:
        _print(out, snapshot)
    bad = [snapshot.node.name for snapshot in snapshots if not _is_well(snapshot)]
    out.print()
    if bad:
        failing = f"{len(bad)} of {count(len(snapshots), 'node')} with failures: "
        print_beside(out, Text(failing), ", ".join(bad))
        return 1
    out.print(f"All {count(len(snapshots), 'node')} well." if len(snapshots) > 1 else "Well.")
    return 0


def _is_well(snapshot: Snapshot) -> bool:
    return all(state.success for state in snapshot.collectors.values()) and bool(
        snapshot.reachability and snapshot.reachability.value.up
    )


def _print(out: Console, snapshot: Snapshot) -> None:
    out.print()
    out.print(Text.assemble((snapshot.node.name, "bold"), f"  {snapshot.node.endpoint.url}"))
    for subject, failure, found in _lines(snapshot):
        mark = ("ok    ", "green") if failure is None else ("FAIL  ", "red")
        head = Text.assemble(f"  {subject:<12}  ", mark)
        if failure is None:
            print_beside(out, head, found)
            continue
        print_beside(out, head, f"{failure.reason}: {failure.detail}")
        arrow = Text(" " * (head.cell_len - 3) + "-> ")
        print_beside(out, arrow, advice(snapshot.node, failure, subject))


def _lines(snapshot: Snapshot) -> Iterator[tuple[str, Failure | None, str]]:
    """What to print: a subject, the failure if there is one, else what was found."""
    told: Failure | None = None
    if snapshot.reachability is not None:
        told = snapshot.reachability.value.failure
        for layer, up in snapshot.reachability.value.layers.items():
            yield layer, None if up else told, _layer_text(snapshot, layer) if up else ""
            if not up:
                break  # what is above can't be known
    for name, state in snapshot.collectors.items():
        if name == "reachability" and state.error is None:
            continue
        if state.error and told and state.error.reason is told.reason:
            continue  # the same once more
        yield name, state.error, _found(snapshot, name)


def _layer_text(snapshot: Snapshot, layer: Layer) -> str:
    workers = snapshot.workers.value if snapshot.workers else None
    match layer:
        case Layer.TRANSPORT if snapshot.reachability:
            trip = snapshot.reachability.value.round_trip
            return "connected" if trip is None else f"answers within {trip * 1000:.1f} ms"
        case Layer.ENGINE if workers and workers.engine:
            engine = workers.engine
            return (
                f"Docker {engine.version} (API {engine.api_version}), {engine.os}/{engine.arch}, "
                f"{engine.root}"
            )
        case Layer.BUILDKIT if workers:
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
        case "builds" if snapshot.builds:
            return "; ".join(
                f"{builds.builder} {builds.running} running"
                if builds.told
                else f"{builds.builder}: {UNTOLD}"
                for builds in snapshot.builds.value
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
