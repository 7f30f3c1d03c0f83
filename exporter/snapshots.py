"""What is known of every node, and who wants to hear of changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporter.model import NodeSpec, Snapshot

Listener = Callable[[Snapshot], None]


class Snapshots:
    """The latest snapshot of each node, by name.

    One event loop owns it. Listeners are called at once, with the new snapshot, and must be quick.
    """

    def __init__(self, nodes: Iterable[NodeSpec]) -> None:
        self._snapshots = {node.name: Snapshot(node) for node in nodes}
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call ``listener`` with each snapshot, those that are there already included."""
        self._listeners.append(listener)
        for snapshot in self._snapshots.values():
            listener(snapshot)

    def get(self, name: str) -> Snapshot:
        """Return the snapshot of a node.

        :raises KeyError: when there is no such node.
        """
        return self._snapshots[name]

    def find(self, name: str) -> Snapshot | None:
        """Return the snapshot of a node; ``None``: there is no such node."""
        return self._snapshots.get(name)

    def all(self) -> tuple[Snapshot, ...]:
        """Return all snapshots, in the order of the configuration."""
        return tuple(self._snapshots.values())

    def update(self, name: str, change: Callable[[Snapshot], Snapshot]) -> Snapshot:
        """Replace the snapshot of a node by what ``change`` makes of it."""
        snapshot = change(self._snapshots[name])
        self._snapshots[name] = snapshot
        for listener in self._listeners:
            listener(snapshot)
        return snapshot
