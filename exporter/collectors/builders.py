"""Asking all builders of a node the same, without one spoiling the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from exporter.collectors.base import Partial
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import Builder

T = TypeVar("T")


async def from_every_builder(
    builders: Iterable[Builder],
    ask: Callable[[Builder], Awaitable[T]],
    previous: Mapping[str, T],
    until: float,
) -> tuple[T, ...] | Partial[tuple[T, ...]]:
    """Ask these builders at once. One that fails keeps its ``previous`` value, by builder name.

    One that has not answered at ``until`` (the event loop's time) failed. A builder that does not
    run and is not a selected one is left out: nobody waits for it.
    """
    builders = [b for b in builders if b.running or b.selected]
    results = await asyncio.gather(
        *(_in_time(builder, ask, until) for builder in builders), return_exceptions=True
    )
    values: list[T] = []
    error: NodeError | None = None
    for builder, result in zip(builders, results, strict=True):
        if isinstance(result, NodeError):
            error = error or result
            if builder.name in previous:
                values.append(previous[builder.name])
        elif isinstance(result, BaseException):
            raise result
        else:
            values.append(result)
    return tuple(values) if error is None else Partial(tuple(values), error)


def may_be_stale(error: NodeError) -> bool:
    """Whether a builder that is not there any more would look like this."""
    # The Engine knows no container of that ID, or says that it does not run.
    if isinstance(error, RemoteError):
        return True
    return error.layer is Layer.BUILDKIT and error.reason is not Reason.TIMEOUT


async def _in_time(builder: Builder, ask: Callable[[Builder], Awaitable[T]], until: float) -> T:
    try:
        async with asyncio.timeout_at(until):
            return await ask(builder)
    except TimeoutError as error:
        raise NodeError(
            Layer.BUILDKIT, Reason.TIMEOUT, f"no answer in time from builder {builder.name}"
        ) from error
