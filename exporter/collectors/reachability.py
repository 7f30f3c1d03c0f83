"""Which layers of a node answer: the way there, the Docker Engine, every selected builder.

All layers share one deadline, a little before the collection's own: whatever keeps silent, the
result says which layer it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look, Partial, failure
from exporter.collectors.builders import from_every_builder, may_be_stale
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Builder, Reachability

# Where a daemon is silent for this share of the time, the machine itself is looked at.
_DOUBT = 0.6

_ORDER = list(Layer)

# What an SSH server grants it grants at login: a right that was given since needs another one.
_OF_A_LOGIN = (Reason.PERMISSION, Reason.FORWARDING)


async def collect(client: NodeClient, look: Look) -> Reachability:
    """Look at each layer, from the lowest up. Failures are the result, so none is raised."""
    layers = [layer for layer in _ORDER if client.engine or layer is not Layer.ENGINE]
    round_trip: float | None = None
    try:
        if client.engine is not None:
            round_trip = await _round_trip(client, client.engine.ping, look)
            await _builders_answer(client, look)
        else:
            (builder,) = await client.builders()
            round_trip = await _round_trip(client, lambda: _answers_anew(client, builder), look)
    except NodeError as error:
        if error.layer is Layer.TRANSPORT or error.reason in _OF_A_LOGIN:
            # Whatever was kept open leads nowhere now.
            client.reset()
        failed = _ORDER.index(error.layer)
        below = {layer: _ORDER.index(layer) < failed for layer in layers}
        return Reachability(below, failure(error), round_trip)
    return Reachability(dict.fromkeys(layers, True), None, round_trip)


async def _round_trip(client: NodeClient, ask: Callable[[], Awaitable[None]], look: Look) -> float:
    """Seconds from asking the lowest daemon to its answer. Connecting is no part of it."""
    loop = asyncio.get_running_loop()
    connects = client.transport.connects
    started = loop.time()
    await _first_answer(client, ask(), look)
    if client.transport.connects != connects:
        started = loop.time()
        await _first_answer(client, ask(), look)
    return loop.time() - started


async def _first_answer(client: NodeClient, request: Awaitable[None], look: Look) -> None:
    """Await the lowest daemon's answer; find out meanwhile whose silence it is."""
    loop = asyncio.get_running_loop()
    url = client.spec.endpoint.url
    probes: list[asyncio.Task[None]] = []

    def doubt() -> None:
        probes.append(loop.create_task(client.transport.probe(), name=f"probe/{client.spec.name}"))

    timer = loop.call_later((look.until - loop.time()) * _DOUBT, doubt)
    try:
        async with asyncio.timeout_at(look.until):
            await request
    except TimeoutError as error:
        if not any(probe.done() for probe in probes):
            raise NodeError(
                Layer.TRANSPORT,
                Reason.TIMEOUT,
                f"{url}: no answer within {client.spec.collect.timeout:g} s",
            ) from error
        for probe in probes:
            probe.result()  # raises what is wrong with the machine
        raise NodeError(
            Layer.BUILDKIT if client.engine is None else Layer.ENGINE,
            Reason.TIMEOUT,
            f"{url}: the machine answers, its daemon does not",
        ) from error
    finally:
        timer.cancel()
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)


async def _builders_answer(client: NodeClient, look: Look) -> None:
    """Ask every selected builder; a list of builders that turns out stale is made anew."""
    error = await _ask(client, look)
    if error and may_be_stale(error):
        error = await _ask(client, look, fresh=True)
    if error is not None:
        raise error


async def _ask(client: NodeClient, look: Look, *, fresh: bool = False) -> NodeError | None:
    try:
        async with asyncio.timeout_at(look.until):
            builders = await client.builders(fresh=fresh)
    except TimeoutError as error:
        raise NodeError(
            Layer.ENGINE, Reason.TIMEOUT, "the Engine does not list its containers in time"
        ) from error
    selected = [builder for builder in builders if builder.selected]
    result = await from_every_builder(
        selected, lambda builder: _answers(client, builder), {}, look.until
    )
    return result.error if isinstance(result, Partial) else None


async def _answers_anew(client: NodeClient, builder: Builder) -> None:
    """Ask again where another look has given the shared connection up: this one still has time."""
    try:
        await _answers(client, builder)
    except NodeError as error:
        if error.reason is not Reason.TIMEOUT:
            raise
        await _answers(client, builder)


async def _answers(client: NodeClient, builder: Builder) -> None:
    try:
        await client.control(builder).info()
    except UnsupportedError:
        # Engines before 25.0 do not know the request: that they say so is the answer.
        return


COLLECTOR = Collector("reachability", lambda node: node.collect.reachability, collect)
