"""Which nodes were named for builds a moment ago, so that they are not all named again."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporter.model import Snapshot
from exporter.routing.facts import begun

HANDED_OUT = 60.0
"""Seconds for which a node that was named counts as building, if no build shows up on it."""

# Of each node. More builds than these do not begin on one node within a minute.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Handout:
    """A node that was named for a build."""

    node: str
    at: float
    """Seconds since the epoch."""
    shows_at: int | None
    """How many builds have begun on the node once that one is among them; ``None``: nobody
    counts them."""


def pending(snapshot: Snapshot, handed: Collection[Handout], now: float) -> int:
    """Count the builds for which a node was named a moment ago, and that are not seen yet.

    ``handed``: the times that it was named.
    """
    seen = begun(snapshot, now)
    return sum(
        seen is None or handout.shows_at is None or handout.shows_at > seen
        for handout in handed
        if abs(now - handout.at) < HANDED_OUT
    )


class Handouts:
    """Remembers which nodes were named: of each node the last ones."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Handout]] = {}

    def __iter__(self) -> Iterator[Handout]:
        for handed in self._of.values():
            yield from handed

    def add(self, snapshot: Snapshot, now: float) -> None:
        """Remember that this node was named."""
        name, seen = snapshot.node.name, begun(snapshot, now)
        handed = self._of.setdefault(name, deque(maxlen=_REMEMBERED))
        shows_at = None if seen is None else seen + pending(snapshot, handed, now) + 1
        handed.append(Handout(name, now, shows_at))
