"""What ``prune`` says: what would go, and what went."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.node import NodeClient
from exporter.buildkit.records import own, size_of, total
from exporter.model import Builder, Disk
from exporter.prunes import Outcome, PruneRecord
from exporter.words import count, duration, share, size

_HEAD = ("SIZE", "LAST USED", "TYPE", "DESCRIPTION")


@dataclass(frozen=True, slots=True)
class Found:
    """A builder as it is before the prune."""

    node: NodeClient
    builder: Builder
    disk: Disk
    records: list[pb.UsageRecord]
    matching: frozenset[str] | None
    """The records that the configured filters let through."""

    @property
    def own(self) -> int:
        """Bytes of the records that no image shares: what BuildKit compares with what to keep."""
        return own(self.records)


def nothing(found: Found, keep: int) -> str:
    """Why there is nothing to prune."""
    if keep and found.own < keep:
        return f"the cache is {size(found.own)}, not above {size(keep)}: nothing to prune"
    return f"the cache is {size(found.own)}, and all of it is in use, shared or filtered out"


def preview(
    console: Console, name: str, going: list[pb.UsageRecord], found: Found, keep: int
) -> None:
    """Print what would go, in the order in which it would."""
    if not going:
        console.print(f"{name}: {nothing(found, keep)}")
        return
    console.print(
        f"{name}: would remove {count(len(going), 'record')} of {len(found.records)}, "
        f"{size(total(going))} of {size(found.own)}:",
        style="bold",
    )
    rows = [_row(record, time.time()) for record in going]
    size_width, used_width, type_width, _ = (
        max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)
    )
    for row, style in ((_HEAD, "bold"), *((row, "") for row in rows)):
        size_, used, type_, description = row
        line = f"{size_:>{size_width}}  {used:<{used_width}}  {type_:<{type_width}}  {description}"
        # Only the description may be cut short.
        console.print(Text(line.rstrip(), style), no_wrap=True, overflow="ellipsis")


def _row(record: pb.UsageRecord, now: float) -> tuple[str, str, str, str]:
    used = record.LastUsedAt.seconds
    return (
        size(size_of(record)),
        f"{duration(max(now - used, 0))} ago" if used else "never",
        record.RecordType,
        " ".join(record.Description.split()),
    )


def tell(console: Console, name: str, record: PruneRecord, before: Disk) -> None:
    """Print what came of a prune."""
    if record.outcome is not Outcome.OK:
        console.print(f"{name}: {record.note}", style="red")
        return
    text = (
        f"{name}: removed {count(record.records, 'record')}, {size(record.reclaimed)}, "
        f"in {duration(record.duration or 0)}"
    )
    if record.after.cache is not None:
        text += f"; the cache is now {size(record.after.cache)}"
    if record.after.available is not None:
        free = record.after.available
        text += f", {size(free)} ({share(free, before.size)}) of the disk is free"
    console.print(text, style="green")
