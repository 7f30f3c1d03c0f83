"""One prune of one builder: what is asked, what is reported, when it is over."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from exporter.actions.prune import PATIENCE, SILENCE, Progress, Prune
from exporter.errors import NodeError, Reason
from exporter.prunes import Measure, PruneRequest, Trigger
from tests.actions.facts import GIB
from tests.actions.fakes import LOST, REQUEST, FakeBuilder, FakeNode

pytestmark = pytest.mark.virtual_time


class Watched:
    """A prune, and the progress it reported."""

    def __init__(
        self,
        builder: FakeBuilder,
        request: PruneRequest = REQUEST,
        free_wanted: float | None = None,
        **node: Any,
    ) -> None:
        self.node = FakeNode({"farm0": builder}, **node)
        self.seen: list[Progress] = []
        wanted = free_wanted
        still_due = None if wanted is None else (lambda _, disk: disk.available < wanted * GIB)
        self.prune = Prune(
            builder.control, request, self.node.look_at_disk, still_due, self.seen.append
        )

    async def run(self) -> tuple[Measure, bool | None]:
        before = await self.prune.measure()
        return await self.prune.run(before.measure)


async def test_records_are_counted_as_they_come() -> None:
    watched = Watched(FakeBuilder(steps=[3, 4]))
    after, effective = await watched.run()
    assert [(p.reclaimed // GIB, p.records) for p in watched.seen] == [(3, 1), (7, 2)]
    assert (after.cache, after.available) == (43 * GIB, 67 * GIB)
    assert effective is None


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        replace(REQUEST, all=True, filters=("type!=exec.cachemount",)),
        PruneRequest(Trigger.MANUAL, "by hand", 0, empty=True),
    ],
)
async def test_what_was_wished_is_what_is_asked(request_: PruneRequest) -> None:
    builder = FakeBuilder()
    await Watched(builder, request_).run()
    assert builder.requests == [(request_.keep, request_.all, request_.filters, request_.empty)]


async def test_effect_is_measured_when_the_filesystem_shows_it() -> None:
    """Space comes back seconds after BuildKit said that it is done."""
    after, effective = await Watched(FakeBuilder(), free_wanted=80, delay=4.0).run()
    assert (after.available, effective) == (90 * GIB, True)


async def test_filesystem_that_never_shows_it_is_waited_for_a_while_only() -> None:
    after, effective = await Watched(FakeBuilder(), free_wanted=80, delay=1e6).run()
    assert (after.available, effective) == (60 * GIB, False)
    assert asyncio.get_running_loop().time() < 60


async def test_goes_further_when_that_was_not_enough() -> None:
    """Internal records are above what to keep: they go too, and only then."""
    builder = FakeBuilder(own=50, internal=30)
    watched = Watched(builder, free_wanted=85)
    _, effective = await watched.run()
    assert builder.requests == [(20 * GIB, False, (), False), (20 * GIB, True, (), False)]
    assert watched.seen[-1] == Progress(reclaimed=30 * GIB, records=2, escalated=True)
    assert effective is True


@pytest.mark.parametrize(
    ("builder", "request_", "free_wanted"),
    [
        # Enough was freed.
        (FakeBuilder(own=50, internal=30), REQUEST, 75),
        # What is left is below what to keep: BuildKit would do nothing.
        (FakeBuilder(own=50), REQUEST, 99),
        # The user said what may go.
        (FakeBuilder(own=50, internal=30), replace(REQUEST, filters=("type=regular",)), 99),
        (FakeBuilder(own=50, internal=30), replace(REQUEST, all=True), 99),
        # By hand: what was asked for, and no more.
        (FakeBuilder(own=50, internal=30), REQUEST, None),
    ],
)
async def test_goes_no_further(
    builder: FakeBuilder, request_: PruneRequest, free_wanted: float | None
) -> None:
    await Watched(builder, request_, free_wanted).run()
    assert len(builder.requests) == 1


async def test_what_can_not_be_measured_is_not_judged() -> None:
    watched = Watched(FakeBuilder(), free_wanted=99, disk=LOST)
    assert await watched.run() == (Measure(cache=20 * GIB), None)


@pytest.mark.parametrize("where", ["disk", "usage"])
async def test_silent_measurement_does_not_hold_the_prune_up(where: str) -> None:
    builder = FakeBuilder(usage=... if where == "usage" else None)
    watched = Watched(builder, disk=... if where == "disk" else None)
    _, effective = await watched.run()
    assert (effective, len(builder.requests)) == (None, 1)


async def test_stall_is_reported_and_waited_out() -> None:
    """A large record takes its time: the daemon answers meanwhile, so nothing is cut short."""
    builder = FakeBuilder(steps=[1, 10 * (SILENCE + PATIENCE), 2])
    watched = Watched(builder)
    await watched.run()
    assert [(p.records, p.stalled) for p in watched.seen] == [(1, False), (1, True), (2, True)]


async def test_slow_but_steady_is_no_stall() -> None:
    watched = Watched(FakeBuilder(steps=[1, SILENCE - 1, 1, SILENCE - 1, 1, SILENCE - 1]))
    await watched.run()
    assert not watched.prune.progress.stalled


async def test_daemon_that_answers_nothing_any_more_is_given_up() -> None:
    """One hung node must not keep the others of its platform from being pruned for ever."""
    watched = Watched(FakeBuilder(steps=[1, 1e9], alive=False))
    with pytest.raises(NodeError, match="BuildKit fell silent") as caught:
        await watched.run()
    assert caught.value.reason is Reason.TIMEOUT
    assert watched.prune.progress.stalled
    assert asyncio.get_running_loop().time() >= SILENCE + PATIENCE


async def test_broken_connection_is_an_error() -> None:
    watched = Watched(FakeBuilder(steps=[1, LOST]))
    with pytest.raises(NodeError, match="ended the connection"):
        await watched.run()
    assert watched.prune.progress.records == 1
