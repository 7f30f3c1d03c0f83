"""Streams of builds that can't be had, or are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from exporter.buildkit.builders import EMBEDDED
from exporter.builds import Builds
from exporter.errors import Layer, Reason, RemoteError, UnsupportedError
from tests.collectors.fakes import FARM0, HANG, broken
from tests.collectors.following import Followed, following
from tests.collectors.histories import complete, started

pytestmark = pytest.mark.virtual_time

GONE = RemoteError(Layer.ENGINE, Reason.ENGINE, "no such container", 404)
LOST = broken(Layer.BUILDKIT, Reason.BUILDKIT, "BuildKit ended the connection")
DOWN = broken(Layer.TRANSPORT, Reason.REFUSED)


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    async with following() as followed:
        await asyncio.sleep(1.0)
        yield followed


async def test_what_ended_while_nobody_listened_is_counted(followed: Followed) -> None:
    followed.farm0.tell(started("a"), started("b"))
    followed.farm0.known = [started("b"), started("c"), complete("a")]
    followed.farm0.tell(LOST)
    await asyncio.sleep(5.0)
    assert followed.numbers == (2, 1, 0)


async def test_what_a_daemon_lost_when_it_died_runs_no_more(followed: Followed) -> None:
    followed.farm0.tell(started("a"), started("b"))
    await asyncio.sleep(1.0)
    assert followed.numbers == (2, 0, 0)
    followed.farm0.tell(LOST)
    await asyncio.sleep(5.0)
    assert followed.numbers == (0, 0, 0)


async def test_a_stream_that_is_had_again_at_once_is_no_failure(followed: Followed) -> None:
    await asyncio.sleep(60.0)
    before = len(followed.told)
    for end in (LOST, None):
        followed.farm0.tell(end)
        await asyncio.sleep(60.0)
    assert len(followed.farm0.lists) == 3
    assert {outcome.error for outcome in followed.told[before:]} == {None}


async def test_a_builder_that_can_not_be_followed_spoils_no_other(followed: Followed) -> None:
    followed.farm0.tell(started("a"))
    await asyncio.sleep(1.0)
    followed.farm0.refusal = DOWN
    followed.farm0.tell(LOST)
    await asyncio.sleep(60.0)
    error = followed.told[-1].error
    assert error is not None
    assert (error.layer, error.reason) == (Layer.TRANSPORT, Reason.REFUSED)
    followed.docker.tell(complete("b"))
    await asyncio.sleep(1.0)
    assert followed.builds["docker"].counts.total == 1
    # What was known last.
    assert followed.numbers == (1, 0, 0)
    followed.farm0.refusal = None
    await asyncio.sleep(31.0)
    assert followed.told[-1].error is None


async def test_tries_become_rare_and_are_not_in_step(followed: Followed) -> None:
    followed.farm0.refusal = DOWN
    followed.farm0.tell(LOST)
    await asyncio.sleep(600.0)
    gaps = [after - before for before, after in pairwise(followed.farm0.lists[1:])]
    assert all(1.0 <= gap <= 30.0 for gap in gaps)
    assert 20 < len(gaps) < 80
    assert len({round(gap, 1) for gap in gaps}) > 20


async def test_a_daemon_that_hangs_up_at_once_is_not_run_down(followed: Followed) -> None:
    async def hang_up() -> None:
        for _ in range(600):
            followed.farm0.tell(LOST)
            await asyncio.sleep(1.0)

    await hang_up()
    assert len(followed.farm0.lists) < 80


async def test_a_list_that_does_not_come_is_a_timeout_counted_once(followed: Followed) -> None:
    followed.farm0.refusal = HANG
    followed.farm0.tell(LOST)
    await asyncio.sleep(14.0)
    followed.docker.tell(started("a"))
    await asyncio.sleep(1.0)
    error = followed.told[-1].error
    assert error is not None
    assert (error.reason, error.detail) == (
        Reason.TIMEOUT,
        "no list of builds from builder farm0 within 10 s",
    )
    assert sum(outcome.timeouts for outcome in followed.told) == 1


async def test_when_the_node_is_back_all_is_tried_at_once(followed: Followed) -> None:
    followed.farm0.refusal = DOWN
    followed.farm0.tell(LOST)
    await asyncio.sleep(300.0)
    followed.follower.look_again()
    await asyncio.sleep(100.0)
    assert len(followed.farm0.lists) < 60
    followed.farm0.refusal = None
    followed.follower.look_again()
    await asyncio.sleep(0.5)
    assert followed.told[-1].error is None


async def test_a_return_during_a_try_that_fails_is_not_missed(followed: Followed) -> None:
    followed.farm0.refusal = HANG
    followed.farm0.tell(LOST)
    await asyncio.sleep(5.0)
    followed.follower.look_again()
    followed.farm0.refusal = None
    await asyncio.sleep(8.0)
    assert followed.told[-1].error is None


async def test_a_daemon_without_history_is_asked_again_now_and_then(followed: Followed) -> None:
    followed.farm0.refusal = UnsupportedError(Layer.BUILDKIT, Reason.PROTOCOL, "unknown method")
    followed.farm0.tell(started("a"), LOST)
    await asyncio.sleep(1190.0)
    assert followed.builds["farm0"] == Builds("farm0", told=False)
    assert followed.told[-1].error is None
    assert len(followed.farm0.lists) == 3
    followed.farm0.refusal = None
    await asyncio.sleep(600.0)
    assert followed.numbers == (0, 0, 0)


async def test_an_end_that_is_never_told_is_found_out(followed: Followed) -> None:
    """BuildKit does not tell of one that it can't store, as on a full disk."""
    followed.farm0.tell(started("a"))
    await asyncio.sleep(240.0)
    assert followed.numbers == (1, 0, 0)
    await asyncio.sleep(120.0)
    assert followed.numbers == (0, 0, 0)
    assert {outcome.error for outcome in followed.told} == {None}


async def test_one_that_vanishes_between_list_and_stream_is_found_out(followed: Followed) -> None:
    asked: list[None] = []

    def lose() -> None:
        asked.append(None)
        if len(asked) == 2:
            followed.farm0.known = []

    followed.farm0.known, followed.farm0.refusal = [started("a")], lose
    followed.farm0.tell(LOST)
    await asyncio.sleep(5.0)
    assert followed.numbers == (1, 0, 0)
    await asyncio.sleep(310.0)
    assert followed.numbers == (0, 0, 0)


async def test_a_builder_that_is_gone_is_found_out_and_is_no_failure(followed: Followed) -> None:
    """The list of builders that others keep does not say so yet."""
    await asyncio.sleep(60.0)
    before = len(followed.told)
    followed.node.found = (EMBEDDED, replace(FARM0, running=False))
    followed.farm0.refusal = GONE
    followed.farm0.tell(started("a"), LOST)
    await asyncio.sleep(60.0)
    assert followed.numbers == (0, 0, 0)
    assert len(followed.farm0.lists) == 2
    assert {outcome.error for outcome in followed.told[before:]} == {None}


async def test_a_bug_ends_nothing(followed: Followed) -> None:
    followed.farm0.refusal = ZeroDivisionError("a bug")
    followed.farm0.tell(LOST)
    await asyncio.sleep(5.0)
    error = followed.told[-1].error
    assert error is not None
    assert error.detail == "unexpected ZeroDivisionError; see the log"
    followed.farm0.refusal = None
    await asyncio.sleep(31.0)
    assert followed.told[-1].error is None


async def test_a_node_whose_builders_are_not_known_is_a_failure() -> None:
    async with following() as followed:
        for known, reason in ((DOWN, Reason.REFUSED), (HANG, Reason.TIMEOUT)):
            followed.node.known = known
            await asyncio.sleep(60.0)
            last = followed.told[-1]
            assert last.value == ()
            assert last.error is not None
            assert last.error.reason is reason
        followed.node.known = (EMBEDDED, FARM0)
        await asyncio.sleep(16.0)
        assert (followed.told[-1].error, followed.numbers) == (None, (0, 0, 0))


async def test_a_bug_where_it_is_asked_whether_a_builder_is_gone(followed: Followed) -> None:
    """It is taken to be there, and tried again."""
    followed.farm0.refusal = GONE
    followed.node.found = TypeError("'NoneType' object is not iterable")
    followed.farm0.tell(LOST)
    with capture_logs() as logs:
        await asyncio.sleep(60.0)
    assert "collector failed unexpectedly" in {entry["event"] for entry in logs}
    followed.node.found = followed.farm0.refusal = None
    followed.follower.look_again()
    await asyncio.sleep(5.0)
    assert followed.told[-1].error is None
    followed.farm0.tell(complete("a"))
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 1, 0)
