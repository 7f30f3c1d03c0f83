"""One collection: deadline, isolation, and what becomes of the snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look, Partial
from exporter.collectors.runner import Clock, Outcome, apply, run
from exporter.errors import Layer, NodeError, Reason
from exporter.model import CollectorState, Failure, Learned, Orphans, Snapshot
from tests.collectors.fakes import HANG, NOW, SPEC, FakeNode, act, broken, no_fetch

CLOCK = Clock(lambda: NOW, lambda: 0.0)
TWO = Orphans(("a", "b"), 2)
SICK = broken(Layer.ENGINE, Reason.ENGINE, "sick")


def collector(
    script: Any, collect: Callable[[NodeClient, Look], Awaitable[Any]] | None = None
) -> Collector:
    """A collector of orphans that does what the script says."""

    async def scripted(client: NodeClient, look: Look) -> Any:
        del client, look
        return await act(script)

    return Collector("orphans", lambda _: 60.0, collect or scripted)


async def outcome(script: Any, clock: Clock = CLOCK) -> Outcome:
    return await run(collector(script), FakeNode().client, Snapshot(SPEC), clock, no_fetch)


async def test_a_value_is_learned_when_the_collection_ended() -> None:
    times = iter([NOW, NOW + 3])
    ticks = iter([100.0, 102.5])
    result = await outcome(TWO, Clock(lambda: next(times), lambda: next(ticks)))
    after = apply(Snapshot(SPEC), result)
    assert after.orphans == Learned(TWO, NOW + 3)
    assert after.connects == 1
    assert after.collectors["orphans"] == CollectorState(
        success=True, duration=2.5, last_success=NOW + 3, timeouts=0, error=None
    )


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (SICK, Failure(Layer.ENGINE, Reason.ENGINE, "sick")),
        (
            ZeroDivisionError("1/0"),
            Failure(Layer.TRANSPORT, Reason.PROTOCOL, "unexpected ZeroDivisionError; see the log"),
        ),
    ],
    ids=["a failing node", "a bug"],
)
async def test_a_failure_keeps_what_was_known(script: Any, error: Failure) -> None:
    before = apply(Snapshot(SPEC), await outcome(TWO))
    with capture_logs():
        after = apply(before, await outcome(script, Clock(lambda: NOW + 60, lambda: 0.0)))
    assert after.orphans == before.orphans
    state = after.collectors["orphans"]
    assert (state.success, state.error, state.last_success) == (False, error, NOW)


async def test_a_bug_is_logged_with_where_it_is() -> None:
    with capture_logs() as logs:
        await outcome(ZeroDivisionError())
    (entry,) = logs
    assert entry["log_level"] == "error"
    assert entry["collector"] == "orphans"
    assert entry["exc_info"]


async def test_a_part_is_learned_although_the_collection_failed() -> None:
    after = apply(Snapshot(SPEC), await outcome(Partial(TWO, SICK)))
    assert after.orphans == Learned(TWO, NOW)
    state = after.collectors["orphans"]
    assert (state.success, state.last_success) == (False, None)
    assert state.error == Failure(Layer.ENGINE, Reason.ENGINE, "sick")


LATE = broken(Layer.BUILDKIT, Reason.TIMEOUT)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("script", "timeouts"),
    [(HANG, 1), (LATE, 1), (Partial(TWO, LATE), 1), (SICK, 0), (TWO, 0)],
    ids=["hangs", "gives up", "in part", "fails", "works"],
)
async def test_timeouts_are_counted(script: Any, timeouts: int) -> None:
    snapshot = Snapshot(SPEC)
    for _ in range(2):
        snapshot = apply(snapshot, await outcome(script))
    assert snapshot.collectors["orphans"].timeouts == 2 * timeouts


@pytest.mark.virtual_time
@pytest.mark.parametrize(("remote", "layer"), [(False, Layer.ENGINE), (True, Layer.BUILDKIT)])
async def test_the_deadline_is_hard(remote: bool, layer: Layer) -> None:
    node = FakeNode(replace(SPEC, remote=remote))
    result = await run(collector(HANG), node.client, Snapshot(node.spec), CLOCK, no_fetch)
    assert asyncio.get_running_loop().time() == pytest.approx(SPEC.collect.timeout)
    assert result.error == Failure(layer, Reason.TIMEOUT, "not finished within 10 s")


@pytest.mark.virtual_time
async def test_a_collection_that_does_not_let_go_loses_its_connections() -> None:
    """As a farewell to a peer that is gone: it is over when the connection is."""
    reset = asyncio.Event()
    node = FakeNode()
    node.reset = reset.set  # type: ignore[method-assign]

    async def clings(client: NodeClient, look: Look) -> None:
        del client, look
        try:
            await act(HANG)
        finally:
            await reset.wait()

    result = await run(collector(None, clings), node.client, Snapshot(SPEC), CLOCK, no_fetch)
    assert result.error is not None
    assert result.error.reason is Reason.TIMEOUT
    assert asyncio.get_running_loop().time() < 2 * SPEC.collect.timeout


@pytest.mark.virtual_time
async def test_connections_are_left_alone_after_a_collection() -> None:
    node = FakeNode()
    await run(collector(TWO), node.client, Snapshot(SPEC), CLOCK, no_fetch)
    await asyncio.sleep(10 * SPEC.collect.timeout)
    assert not node.resets


async def test_a_collector_is_given_what_it_learned_before() -> None:
    given: list[Look] = []

    async def remembers(client: NodeClient, look: Look) -> Orphans:
        del client
        given.append(look)
        return TWO

    snapshot = Snapshot(SPEC)
    for _ in range(2):
        found = await run(collector(None, remembers), FakeNode().client, snapshot, CLOCK, no_fetch)
        snapshot = apply(snapshot, found)
    assert [look.previous for look in given] == [None, TWO]
    assert given[0].now == NOW


async def test_cancellation_passes() -> None:
    task = asyncio.create_task(outcome(HANG))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_node_says_is_made_fit_to_print() -> None:
    said = "first\nsecond \x1b[31mred\x1b[0m " + "x" * 10_000
    result = await outcome(NodeError(Layer.ENGINE, Reason.ENGINE, said))
    assert result.error is not None
    assert result.error.detail.startswith("first second ?[31mred?[0m xxx")
    assert len(result.error.detail) <= 400
