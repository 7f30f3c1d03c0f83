"""Removing orphaned state volumes: when, which, and what becomes of a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from exporter.actions.orphans import OrphanRemover, to_remove
from exporter.errors import Layer, NodeError, Reason, RemoteError, StorageError
from exporter.model import Learned, Orphans, Snapshot
from tests.actions.facts import NOW, snapshot
from tests.actions.fakes import FakeNode, act, clock

pytestmark = pytest.mark.virtual_time

WEEK = 7 * 86400.0
OLD, NEW, FARM0 = (f"buildx_buildkit_{name}_state" for name in ("old0", "new0", "farm0"))
IN_USE = RemoteError(Layer.ENGINE, Reason.ENGINE, "volume is in use", 409)
LOST = NodeError(Layer.TRANSPORT, Reason.TIMEOUT, "no answer")


@dataclass
class FakeEngine:
    answers: Mapping[str, Any] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    async def remove_volume(self, name: str) -> None:
        await act(self.answers.get(name))
        self.removed.append(name)


@dataclass
class FakeStore:
    since: Mapping[str, float]
    broken: bool = False
    noted: list[str] = field(default_factory=list)

    async def orphans_since(
        self, node: str, volumes: Sequence[str], now: float
    ) -> Mapping[str, float]:
        del node
        if self.broken:
            raise StorageError("disk full")
        return {volume: self.since.get(volume, now) for volume in volumes}

    async def orphan_removed(self, node: str, volume: str, now: float) -> None:
        del node, now
        self.noted.append(volume)


@dataclass
class Stage:
    engine: FakeEngine | None = field(default_factory=FakeEngine)
    store: FakeStore = field(default_factory=lambda: FakeStore({OLD: NOW - WEEK, NEW: NOW - 60}))
    volumes: tuple[str, ...] = (OLD, NEW)
    seen_at: float | None = NOW
    told: list[tuple[str, str]] = field(default_factory=list)

    def look(self) -> Snapshot:
        known = Learned(Orphans(self.volumes, None), self.seen_at) if self.seen_at else None
        return replace(snapshot(), orphans=known)

    def remover(self) -> OrphanRemover:
        return OrphanRemover(
            client=FakeNode({}, engine=self.engine).client,
            remove_after=WEEK,
            snapshot=self.look,
            store=self.store,
            now=clock,
            on_removed=lambda node, volume: self.told.append((node, volume)),
        )


@pytest.mark.parametrize(
    ("age", "wanted", "removed"),
    [
        (WEEK, None, [FARM0]),
        (WEEK - 1, None, []),
        (WEEK, ("farm1",), [FARM0]),
        # The user's configuration names that builder: it is to come back.
        (WEEK, ("farm0",), []),
    ],
)
def test_to_remove(age: float, wanted: tuple[str, ...] | None, removed: list[str]) -> None:
    assert to_remove({FARM0: NOW - age}, WEEK, wanted, NOW) == removed


async def test_removes_what_is_due_and_tells() -> None:
    stage = Stage()
    assert stage.engine is not None
    await stage.remover().tick()
    assert (stage.engine.removed, stage.store.noted) == ([OLD], [OLD])
    assert stage.told == [("n1", OLD)]


async def test_acts_once_on_each_look() -> None:
    stage = Stage()
    assert stage.engine is not None
    remover = stage.remover()
    await remover.tick()
    await remover.tick()
    assert stage.engine.removed == [OLD]
    stage.seen_at = NOW + 1
    await remover.tick()
    assert stage.engine.removed == [OLD, OLD]


@pytest.mark.parametrize("stage", [Stage(seen_at=None), Stage(engine=None), Stage(volumes=(NEW,))])
async def test_nothing_to_do(stage: Stage) -> None:
    await stage.remover().tick()
    assert stage.told == []


async def test_refusal_of_one_does_not_keep_the_others() -> None:
    """The Engine knows better: somebody uses that volume again."""
    engine = FakeEngine({OLD: IN_USE})
    stage = Stage(engine, FakeStore({OLD: NOW - WEEK, NEW: NOW - WEEK}))
    await stage.remover().tick()
    assert (engine.removed, stage.store.noted) == ([NEW], [NEW])


TROUBLES = {"node": LOST, "engine": ..., "bug": ZeroDivisionError()}


@pytest.mark.parametrize("trouble", ["store", *TROUBLES])
async def test_trouble_is_waited_out(trouble: str) -> None:
    engine = FakeEngine({OLD: TROUBLES.get(trouble)})
    stage = Stage(engine)
    stage.store.broken = trouble == "store"
    task = asyncio.create_task(stage.remover().run())
    await asyncio.sleep(300)
    engine.answers, stage.store.broken, stage.seen_at = {}, False, NOW + 300
    await asyncio.sleep(300)
    task.cancel()
    await asyncio.wait([task])
    assert stage.told == [("n1", OLD)]
