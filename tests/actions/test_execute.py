"""A prune from its start to its record, however it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exporter.actions.execute import Target, execute
from exporter.actions.history import BEAT, History
from exporter.model import Disk
from exporter.prunes import Measure, Outcome, PruneRecord
from tests.actions.facts import FARM0, GIB, NOW, record
from tests.actions.fakes import LOST, REQUEST, FakeBuilder, FakeNode, MemoryStore, clock

pytestmark = pytest.mark.virtual_time


class Stage:
    """Everything around one prune."""

    def __init__(self, builder: FakeBuilder, **node: Any) -> None:
        self.builder = builder
        self.node = FakeNode({"farm0": builder}, **node)
        self.store = MemoryStore()
        self.ended: list[PruneRecord] = []
        self.history = History(self.store, self.ended.append)

    async def run(self, *, running: bool = True, **more: Any) -> PruneRecord | None:
        builder = FARM0 if running else type(FARM0)("farm0", FARM0.driver, running=False)
        target = Target(self.node.client, builder, self.node.look_at_disk)
        return await execute(target, REQUEST, self.history, clock, **more)

    def check(self, found: PruneRecord | None) -> PruneRecord:
        """Make sure that everybody knows of the same end, and that nothing is left over."""
        assert found is not None
        assert self.ended == [found]
        assert self.store.rows == {found.id: found}
        assert self.history.latest == {found.key: found}
        assert self.builder.controls == 0
        return found


async def test_record_tells_the_whole_story() -> None:
    stage = Stage(FakeBuilder(shared=5, steps=[10, 100.0, 21]))
    found = stage.check(await stage.run())
    assert (found.node, found.builder, found.trigger) == ("n1", "farm0", REQUEST.trigger)
    assert (found.reason, found.keep, found.all) == (REQUEST.reason, REQUEST.keep, False)
    assert (found.outcome, found.reclaimed, found.records) == (Outcome.OK, 31 * GIB, 2)
    assert found.before == Measure(55 * GIB, 60 * GIB, 800)
    assert found.after == Measure(24 * GIB, 91 * GIB, 800)
    assert (found.effective, found.escalated, found.stalled) == (None, False, True)
    assert found.started_at == NOW
    assert found.duration is not None
    assert 100 < found.duration < 110


async def test_running_prune_is_reported_on_all_the_while() -> None:
    stage = Stage(FakeBuilder(steps=[10, 95.0, 21]))
    await stage.run()
    beats = [w.seen_at - NOW for w in stage.store.writes if w.outcome is Outcome.RUNNING]
    assert beats == [BEAT * n for n in range(1, 10)]


async def test_second_pass_and_whose_the_space_is() -> None:
    stage = Stage(FakeBuilder(internal=30))

    def still_due(cache: int, disk: Disk) -> bool:
        return cache > 0 and disk.available < 99 * GIB

    async def explain() -> str:
        return "it is all images"

    found = stage.check(await stage.run(still_due=still_due, explain=explain))
    assert (found.outcome, found.escalated, found.effective) == (Outcome.OK, True, False)
    assert found.note == "it is all images"


async def test_broken_connection() -> None:
    stage = Stage(FakeBuilder(steps=[10, LOST]))
    found = stage.check(await stage.run())
    assert (found.outcome, found.reclaimed) == (Outcome.FAILED, 10 * GIB)
    assert found.note == "buildkit: buildkit: BuildKit ended the connection"


async def test_builder_that_does_not_run() -> None:
    stage = Stage(FakeBuilder())
    found = stage.check(await stage.run(running=False))
    assert (found.outcome, found.note) == (
        Outcome.FAILED,
        "buildkit: buildkit: farm0 does not run",
    )


async def test_bug_leaves_a_failed_record() -> None:
    stage = Stage(FakeBuilder(steps=[10, ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        await stage.run()
    assert stage.check(stage.ended[0]).outcome is Outcome.FAILED


async def test_stopped_in_the_middle() -> None:
    stage = Stage(FakeBuilder(steps=[10, 1e6]))
    task = asyncio.create_task(stage.run())
    await asyncio.sleep(30)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    found = stage.check(stage.ended[0])
    assert (found.outcome, found.reclaimed) == (Outcome.INTERRUPTED, 10 * GIB)
    assert found.note == "the exporter was stopped"
    assert found.duration == 30


async def test_stopped_when_all_was_done() -> None:
    """Asking whose the space is takes a while: the prune before it did not fail."""
    stage = Stage(FakeBuilder())

    async def explain() -> str:
        await asyncio.sleep(1e6)
        return "never"

    still_due: Any = lambda cache, disk: True  # noqa: E731
    task = asyncio.create_task(stage.run(still_due=still_due, explain=explain))
    await asyncio.sleep(100)
    task.cancel()
    await asyncio.wait([task])
    assert stage.check(stage.ended[0]).outcome is Outcome.OK


async def test_somebody_else_was_faster() -> None:
    stage = Stage(FakeBuilder())
    stage.store.rows["x"] = record(None, id="x")
    assert await stage.run() is None
    assert (stage.builder.requests, stage.ended) == ([], [])


@pytest.mark.parametrize("trouble", ["broken", "hangs"])
async def test_history_that_can_not_be_written(trouble: str) -> None:
    """The prune goes on, and its record is written when that is possible again."""
    stage = Stage(FakeBuilder())
    setattr(stage.store, trouble, True)
    found = await stage.run()
    assert stage.store.rows == {}
    setattr(stage.store, trouble, False)
    await stage.history.refresh(clock())
    assert stage.check(found).outcome is Outcome.OK
