"""The store of what is known, and its listeners."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.model import NodeSpec, Snapshot, UnixEndpoint
from exporter.snapshots import Snapshots

ONE, TWO = (NodeSpec(name, UnixEndpoint("/x.sock")) for name in ("one", "two"))


def test_in_the_order_of_the_configuration_whatever_changes() -> None:
    snapshots = Snapshots([TWO, ONE])
    snapshots.update("one", lambda s: replace(s, connects=1))
    assert [(s.node.name, s.connects) for s in snapshots.all()] == [("two", 0), ("one", 1)]


def test_a_listener_hears_of_what_is_there_and_of_each_change() -> None:
    snapshots = Snapshots([ONE, TWO])
    heard: list[Snapshot] = []
    snapshots.subscribe(heard.append)
    assert heard == [Snapshot(ONE), Snapshot(TWO)]
    after = snapshots.update("two", lambda s: replace(s, connects=s.connects + 1))
    assert after == Snapshot(TWO, connects=1)
    assert heard[2:] == [after]
    assert snapshots.get("two") is after


def test_what_is_not_configured_is_not_there() -> None:
    with pytest.raises(KeyError):
        Snapshots([ONE]).get("two")
