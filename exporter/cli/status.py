"""``status``: one look at the farm as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from exporter.cli.decisions import decisions
from exporter.cli.look import UNTOLD, look_at_all
from exporter.cli.setup import Settings
from exporter.cli.terminal import Row, console, fitting, print_beside
from exporter.errors import StorageError
from exporter.model import Snapshot, Worker
from exporter.prunes import Decision, Verdict
from exporter.words import count, share, size

_NUMBERS = ("DISK FREE", "INODES FREE", "CACHE")
# What goes first where the terminal is too narrow for all.
_LEAST_WANTED = ("INODES FREE", "PLATFORMS", "BUILDER")

# 64-bit CPUs run these as well: naming both says nothing.
_IMPLIED = {"386": "amd64", "arm": "arm64"}


async def run(settings: Settings) -> int:
    """Print the table; 0 however the nodes are, 2 if there are none."""
    out = console()
    if not settings.nodes:
        out.print("No nodes. Name some in a configuration file (--config).")
        return 2
    snapshots = await look_at_all(settings.nodes, out)
    try:
        decided = await decisions(settings, snapshots)
    except StorageError as error:
        out.print(Text(f"! what was pruned before can't be read: {error}", "yellow"))
        decided = []
    report(out, snapshots, decided)
    return 0


def report(out: Console, snapshots: Sequence[Snapshot], decided: Sequence[Decision] = ()) -> None:
    """Print the table, and below it what it has no room for."""
    rows = [row for snapshot in snapshots for row in _rows(snapshot)]
    table = fitting(out, rows, _NUMBERS, _LEAST_WANTED)
    out.print(table)
    notes = [note for snapshot in snapshots for note in _notes(snapshot)]
    notes += [note for decision in decided for note in _why(decision)]
    shown = any(column.header == "PLATFORMS" for column in table.columns)
    if shown and any("+" in str(row["PLATFORMS"]) for row in rows):
        notes.append((Text("+N  ", "dim"), "as many more platforms, emulated"))
    if notes:
        out.print()
    for head, body in notes:
        print_beside(out, head, body)


def _rows(snapshot: Snapshot) -> Iterator[Row]:
    """One row for each selected builder; the node's own columns are in the first."""
    failure = snapshot.reachability.value.failure if snapshot.reachability else None
    disk = snapshot.disk.value if snapshot.disk else None
    selected = _selected(snapshot)
    caches = {cache.builder: cache for cache in (snapshot.cache.value if snapshot.cache else ())}
    row: Row = {
        "NODE": snapshot.node.name,
        "STATE": Text(failure.reason, "red") if failure else Text("up", "green"),
        "PLATFORMS": _platforms(selected),
        "DISK FREE": "-",
        "INODES FREE": "-",
    }
    if disk is not None:
        row["DISK FREE"] = Text(f"{size(disk.available)} ") + _free(disk.available, disk.size)
        row["INODES FREE"] = _free(disk.inodes_free, disk.inodes)
    for name in [worker.builder.name for worker in selected] or ["-"]:
        cache = size(caches[name].size) if name in caches else "-"
        yield {**row, "BUILDER": name, "CACHE": cache}
        row = dict.fromkeys(row, "")


def _free(part: int, whole: int) -> Text:
    """A share that shows how near the end is."""
    style = "red" if part < whole * 0.05 else "yellow" if part < whole * 0.15 else ""
    return Text(f"{share(part, whole):>5}", style)


def _selected(snapshot: Snapshot) -> list[Worker]:
    workers = snapshot.workers.value.workers if snapshot.workers else ()
    return [worker for worker in workers if worker.builder.selected]


def _platforms(workers: Sequence[Worker]) -> str:
    """The CPUs that are native, without their variants, and how many platforms are emulated."""
    platforms = {platform for worker in workers for platform in worker.platforms}
    names = {p.platform.split("/")[1] for p in platforms if not p.emulated}
    native = ", ".join(sorted(name for name in names if _IMPLIED.get(name) not in names))
    emulated = sum(platform.emulated for platform in platforms)
    return (native or "-") + (f" +{emulated}" if emulated else "")


def _notes(snapshot: Snapshot) -> Iterator[tuple[Text, str]]:
    """What the table has no room for: why something failed, and what nobody uses."""
    name = snapshot.node.name
    reach = snapshot.reachability
    told = reach.value.failure if reach else None
    if told is not None:
        yield Text(f"{name}  ", "red"), f"{told.layer}: {told.reason}: {told.detail}"
    for collector, state in snapshot.collectors.items():
        if state.error and not (told and state.error.reason is told.reason):
            head = Text(f"{name}  ", "red")
            yield head, f"{collector}: {state.error.reason}: {state.error.detail}"
    for builds in snapshot.builds.value if snapshot.builds else ():
        if not builds.told:
            yield Text(f"{name}/{builds.builder}  ", "dim"), f"builds: {UNTOLD}"
    if snapshot.orphans and (volumes := snapshot.orphans.value.volumes):
        held = snapshot.orphans.value.size
        space = "" if held is None else f" with {size(held)}"
        text = f"{count(len(volumes), 'state volume')}{space} that no builder uses"
        yield Text(f"{name}  ", "yellow"), text


def _why(decision: Decision) -> Iterator[tuple[Text, str]]:
    """What is done about a threshold that is passed, or why the daemon could not prune."""
    if decision.trigger is None and decision.verdict is Verdict.FINE:
        return
    head = Text(f"{decision.node}/{decision.builder}  ", "yellow")
    verdict = "due" if decision.verdict is Verdict.PRUNE else decision.verdict.replace("_", " ")
    yield head, f"prune: {verdict}: {decision.reason}"
