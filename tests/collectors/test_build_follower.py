"""The builds of one node's builders, as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from exporter.buildkit.builders import EMBEDDED
from exporter.builds import BuildCounts, Builds
from exporter.canaries import CANARY_PREFIX
from tests.collectors.fakes import FARM0, NOW
from tests.collectors.following import Followed, following
from tests.collectors.histories import FakeBuildKit, complete, deleted, started

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def followed() -> AsyncIterator[Followed]:
    async with following() as followed:
        await asyncio.sleep(1.0)
        yield followed


async def test_builds_of_every_builder_are_told_as_they_happen(followed: Followed) -> None:
    assert followed.builds == {n: Builds(n, True, 0, BuildCounts()) for n in ("docker", "farm0")}
    followed.docker.tell(started("a"))
    followed.farm0.tell(started("b"), started("c"), complete("b", error="exit code: 1"))
    await asyncio.sleep(1.0)
    assert followed.builds["docker"].running == 1
    assert followed.numbers == (1, 1, 1)
    followed.farm0.tell(complete("c"))
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 2, 1)


@pytest.mark.parametrize(
    "news",
    [
        [started("a"), complete("a"), complete("a")],
        [complete("a"), started("a"), complete("a")],
        [complete("a"), complete("a"), started("a")],
        [started("a"), complete("a"), deleted("a"), complete("a")],
        [deleted("a"), complete("a"), started("a")],
    ],
)
async def test_a_build_is_counted_once_in_whatever_order_it_is_told(
    followed: Followed, news: list[object]
) -> None:
    followed.farm0.tell(*news)  # type: ignore[arg-type]
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 1, 0)


async def test_canaries_neither_run_nor_count(followed: Followed) -> None:
    followed.farm0.tell(started(f"{CANARY_PREFIX}1"), complete(f"{CANARY_PREFIX}0"))
    followed.farm0.tell(started("b", **{"build-arg:BUILDFARM_CANARY": "1"}))
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 0, 0)


async def test_many_builds_at_once_are_told_in_one_piece(followed: Followed) -> None:
    before = len(followed.told)
    for number in range(500):
        followed.farm0.tell(started(str(number)), complete(str(number)), complete(str(number)))
        await asyncio.sleep(0.0002)
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 500, 0)
    assert len(followed.told) == before + 1


async def test_no_list_is_asked_for_while_a_stream_is_open(followed: Followed) -> None:
    before = len(followed.told)
    await asyncio.sleep(3600.0)
    assert len(followed.docker.lists) == len(followed.farm0.lists) == 1
    last = followed.told[-1]
    assert last.error is None
    assert asyncio.get_running_loop().time() - (last.finished - NOW) <= 15.0
    assert len(followed.told) - before == 240
    # The very same value, so that nothing is made of it anew.
    assert len({id(outcome.value) for outcome in followed.told[before:]}) == 1


async def test_a_stream_of_a_silent_node_is_no_success(followed: Followed) -> None:
    followed.answers = False
    before = len(followed.told)
    await asyncio.sleep(600.0)
    assert len(followed.told) == before


async def test_what_is_gone_is_not_remembered_for_ever(followed: Followed) -> None:
    for number in range(300):
        followed.farm0.tell(complete(str(number)), deleted(str(number)))
    for number in range(40):
        builder = replace(FARM0, name=f"ci-{number}", container=str(number))
        followed.node.controls[builder.name] = FakeBuildKit(complete("a"))
        followed.node.known = (EMBEDDED, FARM0, builder)
        followed.follower.look_again()
        await asyncio.sleep(1.0)
    assert [followed.ledger.knows(("n1", "farm0"), ref) for ref in ("0", "299")] == [False, True]
    assert [followed.ledger.knows(("n1", f"ci-{n}"), "a") for n in (0, 39)] == [False, True]


async def test_builders_come_stop_and_go(followed: Followed) -> None:
    followed.farm0.tell(complete("a"), started("b"))
    await asyncio.sleep(1.0)
    farm1 = replace(FARM0, name="farm1", container="c1")
    followed.node.controls["farm1"] = FakeBuildKit(started("c"))
    followed.node.known = (EMBEDDED, FARM0, farm1)
    await asyncio.sleep(16.0)
    assert followed.builds["farm1"].running == 1
    stopped = replace(FARM0, running=False)
    followed.node.known = (EMBEDDED, stopped)
    await asyncio.sleep(16.0)
    assert "farm1" not in followed.builds
    assert followed.numbers == (0, 1, 0)
    # Made anew, with another container.
    followed.node.known = (EMBEDDED, replace(FARM0, container="c2"))
    followed.follower.look_again()
    await asyncio.sleep(0.5)
    followed.farm0.tell(complete("d"))
    await asyncio.sleep(1.0)
    assert followed.numbers == (0, 2, 0)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert {"follow/n1/docker", "follow/n1/farm0"} <= names
    assert "follow/n1/farm1" not in names


async def test_a_bug_in_the_list_of_builders_is_a_failure_and_no_end(followed: Followed) -> None:
    followed.node.known = TypeError("'NoneType' object is not iterable")
    with capture_logs() as logs:
        await asyncio.sleep(16.0)
    error = followed.told[-1].error
    assert error is not None
    assert error.detail == "unexpected TypeError; see the log"
    assert {entry["log_level"] for entry in logs} == {"error"}
    followed.node.known = (EMBEDDED, FARM0)
    await asyncio.sleep(16.0)
    assert followed.told[-1].error is None
