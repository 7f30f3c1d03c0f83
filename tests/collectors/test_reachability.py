"""Which layer of a node answers, and which one is to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from exporter.buildkit.builders import BARE, EMBEDDED
from exporter.collectors import reachability
from exporter.errors import Layer, NodeError, Reason, RemoteError, UnsupportedError
from exporter.model import Reachability
from tests.collectors.fakes import (
    FARM0,
    HANG,
    SPEC,
    FakeControl,
    FakeEngine,
    FakeNode,
    FakeTransport,
    broken,
    collected,
)

ALL = tuple(Layer)
TRANSPORT, ENGINE, BUILDKIT = ALL
GONE = replace(FARM0, container=None, running=False)


async def seen(node: FakeNode) -> Reachability:
    result = await collected(reachability.COLLECTOR, node)
    assert isinstance(result, Reachability)
    return result


def blamed(result: Reachability) -> tuple[Layer, Reason]:
    assert result.failure is not None
    return result.failure.layer, result.failure.reason


def up_to(failed: Layer, layers: tuple[Layer, ...] = ALL) -> Mapping[Layer, bool]:
    """The layers below the failed one are up; it and those above are not."""
    return {layer: ALL.index(layer) < ALL.index(failed) for layer in layers}


async def test_all_layers_answer() -> None:
    result = await seen(FakeNode())
    assert result.up
    assert result.layers == {TRANSPORT: True, ENGINE: True, BUILDKIT: True}
    assert result.round_trip is not None


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("layer", [TRANSPORT, ENGINE])
async def test_what_the_ping_fails_with_is_the_reason(layer: Layer, reason: Reason) -> None:
    result = await seen(FakeNode(engine=FakeEngine(broken(layer, reason))))
    assert not result.up
    assert blamed(result) == (layer, reason)
    assert result.layers == up_to(layer)
    assert result.round_trip is None


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("layer", ALL)
async def test_what_a_builder_fails_with_is_the_reason(layer: Layer, reason: Reason) -> None:
    control = FakeControl(version=broken(layer, reason))
    result = await seen(FakeNode(controls={"docker": control}))
    assert blamed(result) == (layer, reason)
    assert result.layers == up_to(layer)
    assert result.round_trip is not None


@pytest.mark.parametrize(
    ("layer", "reason", "resets"),
    [
        (TRANSPORT, Reason.PROTOCOL, 1),
        (ENGINE, Reason.PROTOCOL, 0),
        (BUILDKIT, Reason.PROTOCOL, 0),
        # Rights are those of the login: once given they count for the next connection.
        (ENGINE, Reason.PERMISSION, 1),
        (ENGINE, Reason.FORWARDING, 1),
    ],
)
async def test_kept_connections_are_given_up_when_the_way_is_broken(
    layer: Layer, reason: Reason, resets: int
) -> None:
    node = FakeNode(engine=FakeEngine(broken(layer, reason)))
    await seen(node)
    assert node.resets == resets


REFUSED = broken(TRANSPORT, Reason.REFUSED)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("alive", "layer", "reason"),
    [
        (None, ENGINE, Reason.TIMEOUT),
        (HANG, TRANSPORT, Reason.TIMEOUT),
        (REFUSED, TRANSPORT, Reason.REFUSED),
    ],
    ids=["the machine answers", "nothing answers", "the machine refuses"],
)
async def test_whose_silence_it_is(alive: Any, layer: Layer, reason: Reason) -> None:
    result = await seen(FakeNode(engine=FakeEngine(HANG), transport=FakeTransport(alive)))
    assert blamed(result) == (layer, reason)
    assert result.layers == up_to(layer)


@pytest.mark.virtual_time
async def test_a_slow_answer_is_an_answer_although_doubts_arose() -> None:
    async def slow() -> None:
        await asyncio.sleep(8.0)

    result = await seen(FakeNode(engine=FakeEngine(slow), transport=FakeTransport(HANG)))
    assert result.up
    assert result.round_trip == pytest.approx(8.0)


@pytest.mark.virtual_time
async def test_the_time_to_connect_is_no_round_trip() -> None:
    async def ping() -> None:
        connected = node.transport.connects
        node.transport.connects = 1
        await asyncio.sleep(0.002 if connected else 3.0)

    node = FakeNode(engine=FakeEngine(ping), transport=FakeTransport(connects=0))
    assert (await seen(node)).round_trip == pytest.approx(0.002)


@pytest.mark.virtual_time
async def test_an_engine_that_pings_but_lists_no_containers_hangs() -> None:
    result = await seen(FakeNode(known=HANG))
    assert blamed(result) == (ENGINE, Reason.TIMEOUT)


@pytest.mark.virtual_time
async def test_a_silent_builder_is_to_blame_alone() -> None:
    node = FakeNode(known=(EMBEDDED, FARM0), controls={"farm0": FakeControl(version=HANG)})
    result = await seen(node)
    assert blamed(result) == (BUILDKIT, Reason.TIMEOUT)
    assert result.failure is not None
    assert "farm0" in result.failure.detail


async def test_builders_that_are_not_selected_do_not_count() -> None:
    sick = FakeControl(version=broken(BUILDKIT, Reason.BUILDKIT))
    node = FakeNode(known=(replace(EMBEDDED, selected=False), FARM0), controls={"docker": sick})
    assert (await seen(node)).up


async def test_an_engine_too_old_to_tell_its_buildkit_s_version_answers() -> None:
    control = FakeControl(version=UnsupportedError(BUILDKIT, Reason.BUILDKIT, "unknown method"))
    assert (await seen(FakeNode(controls={"docker": control}))).up


NOT_RUNNING = RemoteError(ENGINE, Reason.ENGINE, "/exec: HTTP 409: is not running", 409)


@pytest.mark.parametrize("said", [broken(BUILDKIT, Reason.BUILDKIT), NOT_RUNNING])
@pytest.mark.parametrize(
    ("known", "found", "up"),
    [((GONE,), (FARM0,), True), ((FARM0,), (EMBEDDED,), True), ((FARM0,), (GONE,), False)],
    ids=["it is back", "it was removed for good", "only its container is gone"],
)
async def test_a_list_of_builders_that_is_stale_is_made_anew(
    known: Any, found: Any, up: bool, said: NodeError
) -> None:
    node = FakeNode(known=known, found=found)
    sick = iter([said, "v0.32.2"])
    if known == (FARM0,):
        node.controls["farm0"] = FakeControl(version=lambda: next(sick))
    result = await seen(node)
    assert result.up is up
    assert up or blamed(result) == (BUILDKIT, Reason.BUILDKIT)


def _bare(version: Any, alive: Any = None) -> FakeNode:
    return FakeNode(
        replace(SPEC, remote=True),
        FakeTransport(alive),
        engine=None,
        known=(BARE,),
        controls={"buildkitd": FakeControl(version=version)},
    )


async def test_a_bare_buildkitd_has_no_engine_to_ask() -> None:
    result = await seen(_bare("v0.32.2"))
    assert result.layers == {TRANSPORT: True, BUILDKIT: True}
    assert result.round_trip is not None


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("version", "alive", "layer", "reason"),
    [
        (broken(TRANSPORT, Reason.DNS), None, TRANSPORT, Reason.DNS),
        (broken(BUILDKIT, Reason.TLS), None, BUILDKIT, Reason.TLS),
        (HANG, None, BUILDKIT, Reason.TIMEOUT),
        (HANG, HANG, TRANSPORT, Reason.TIMEOUT),
    ],
)
async def test_how_a_bare_buildkitd_fails(
    version: Any, alive: Any, layer: Layer, reason: Reason
) -> None:
    result = await seen(_bare(version, alive))
    assert blamed(result) == (layer, reason)
    assert result.layers == up_to(layer, (TRANSPORT, BUILDKIT))


async def test_a_connection_that_another_look_gave_up_is_made_anew() -> None:
    said = iter([broken(BUILDKIT, Reason.TIMEOUT), "v0.32.2"])
    assert (await seen(_bare(lambda: next(said)))).up
