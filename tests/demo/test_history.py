"""The stream of builds, as BuildKit tells it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from random import Random
from typing import Any

import pytest

from exporter.buildkit import control_pb2 as pb
from exporter.demo.history import History


@pytest.fixture
def history() -> History:
    """One build that ended well, one that failed, one that runs; a minute for each."""
    history = History(Random(1), lambda: 1_800_000_000.5)
    for error in (None, "exit code: 2"):
        history.complete(history.start({}), steps=9, cached=4, error=error)
    history.start({"platform": "linux/arm64"})
    return history


async def told(events: AsyncIterator[Any], count: int) -> list[str]:
    async with asyncio.timeout(10):
        return [pb.BuildHistoryEventType.Name((await anext(events)).type) for _ in range(count)]


async def until_exit(history: History, **wish: Any) -> list[Any]:
    events = history.listen(pb.BuildHistoryRequest(EarlyExit=True, **wish))
    return [event async for event in events]


async def test_the_past_comes_first_and_ends_where_asked(history: History) -> None:
    kinds = [event.type for event in await until_exit(history)]
    assert kinds == [pb.STARTED, pb.COMPLETE, pb.COMPLETE]


async def test_active_only_leaves_the_past_out(history: History) -> None:
    (event,) = await until_exit(history, ActiveOnly=True)
    assert event.record.FrontendAttrs["platform"] == "linux/arm64"


async def test_one_build_can_be_asked_for(history: History) -> None:
    ref = next(iter(history.past))
    (event,) = await until_exit(history, Ref=ref)
    assert event.record.Ref == ref


async def test_a_limit_gives_the_last_ones(history: History) -> None:
    events = await until_exit(history, Limit=1)
    assert [event.record.Ref for event in events if event.type == pb.COMPLETE] == [
        list(history.past)[-1]
    ]


async def test_who_listens_hears_of_all_that_happens(history: History) -> None:
    events = history.listen(pb.BuildHistoryRequest(ActiveOnly=True))
    async with aclosing(events):
        await told(events, 1)
        ref = history.start({})
        history.complete(ref, steps=3, cached=1)
        history.amend(ref)
        history.delete(ref)
        assert await told(events, 4) == ["STARTED", "COMPLETE", "COMPLETE", "DELETED"]


async def test_a_failed_build_has_not_done_its_last_step(history: History) -> None:
    good, failed = history.past.values()
    assert (good.numCompletedSteps, good.HasField("error")) == (9, False)
    assert (failed.numCompletedSteps, failed.error.message) == (8, "exit code: 2")
    assert failed.CompletedAt.ToNanoseconds() == 1_800_000_000_500_000_000


async def test_a_build_that_is_lost_never_ends(history: History) -> None:
    history.lose()
    assert await until_exit(history, ActiveOnly=True) == []


async def test_old_builds_are_forgotten_and_that_is_told(history: History) -> None:
    events = history.listen(pb.BuildHistoryRequest(ActiveOnly=True))
    async with aclosing(events):
        await told(events, 1)
        for _ in range(49):
            history.complete(history.start({}), steps=1, cached=0)
        assert (await told(events, 99))[-1] == "DELETED"
        assert len(history.past) == 50
