"""Which layers of a node answer: the way there, the Docker Engine, every selected builder.

A look has one deadline for all layers; each layer gets a part of it, so that it is known which
one kept silent when the time is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Builder, Failure, Reachability

_ANSWER_SHARE = 0.6
_PROBE_SHARE = 0.3


async def collect(client: NodeClient, look: Look) -> Reachability:
    """Look at each layer, from the lowest up. Failures are the result, so none is raised."""
    del look
    layers = dict.fromkeys(_layers(client), False)
    round_trip: float | None = None
    try:
        if client.engine is not None:
            round_trip = await _first_answer(client, client.engine.ping())
            layers[Layer.TRANSPORT] = layers[Layer.ENGINE] = True
            await _builders_answer(client)
        else:
            builder = (await client.builders())[0]
            round_trip = await _first_answer(client, _answers(client, builder))
            layers[Layer.TRANSPORT] = True
        layers[Layer.BUILDKIT] = True
    except NodeError as error:
        for layer in layers:
            if layer is error.layer:
                break
            layers[layer] = True
        if error.layer is Layer.TRANSPORT:
            # Whatever was kept open leads nowhere now.
            client.reset()
        return Reachability(layers, Failure(error.layer, error.reason, error.detail), round_trip)
    return Reachability(layers, None, round_trip)


def _layers(client: NodeClient) -> tuple[Layer, ...]:
    if client.engine is None:
        return (Layer.TRANSPORT, Layer.BUILDKIT)
    return (Layer.TRANSPORT, Layer.ENGINE, Layer.BUILDKIT)


async def _first_answer(client: NodeClient, request: Awaitable[None]) -> float:
    """Await the lowest daemon's answer; seconds it took. Silence is looked into."""
    whole = client.spec.collect.timeout
    daemon = Layer.BUILDKIT if client.engine is None else Layer.ENGINE
    started = time.perf_counter()
    try:
        async with asyncio.timeout(whole * _ANSWER_SHARE):
            await request
        return time.perf_counter() - started
    except TimeoutError as error:
        try:
            async with asyncio.timeout(whole * _PROBE_SHARE):
                await client.transport.probe()
        except TimeoutError as silence:
            raise NodeError(
                Layer.TRANSPORT,
                Reason.TIMEOUT,
                f"{client.spec.endpoint.url}: no answer within {whole:g} s",
            ) from silence
        raise NodeError(
            daemon,
            Reason.TIMEOUT,
            f"{client.spec.endpoint.url}: the machine answers, its daemon does not",
        ) from error


async def _builders_answer(client: NodeClient) -> None:
    """Ask every selected builder; a list of builders that turns out stale is made anew."""
    try:
        await _ask(client, await client.builders())
    except NodeError as error:
        if error.layer is not Layer.BUILDKIT or error.reason is Reason.TIMEOUT:
            raise
        await _ask(client, await client.builders(fresh=True))


async def _ask(client: NodeClient, builders: tuple[Builder, ...]) -> None:
    selected = [builder for builder in builders if builder.selected]
    try:
        async with asyncio.timeout(client.spec.collect.timeout * _PROBE_SHARE):
            results = await asyncio.gather(
                *(_answers(client, builder) for builder in selected), return_exceptions=True
            )
    except TimeoutError as error:
        names = ", ".join(builder.name for builder in selected)
        raise NodeError(
            Layer.BUILDKIT, Reason.TIMEOUT, f"no answer in time from BuildKit ({names})"
        ) from error
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _answers(client: NodeClient, builder: Builder) -> None:
    try:
        await client.control(builder).info()
    except UnsupportedError:
        # Engines before 23.0 do not know the request: that they say so is the answer.
        return


COLLECTOR = Collector("reachability", lambda node: node.collect.reachability, collect)
