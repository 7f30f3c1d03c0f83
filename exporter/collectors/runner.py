"""One collection: its deadline, its duration, and its failure kept to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look, Partial, failure
from exporter.errors import Layer, NodeError, Reason
from exporter.model import CollectorState, Failure, Learned, Snapshot

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

# A look is told to be done by then, so that it can return what it has before it is cut short.
_SOFT = 0.9
# A cancelled look that has not ended after so many seconds waits for a peer that is gone.
_GRACE = 2.0

_FIRST = CollectorState(success=False, duration=0.0, last_success=None, timeouts=0)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: ``now`` since the epoch, ``monotonic`` for durations (seconds)."""

    now: Callable[[], float]
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one collection came to."""

    collector: str
    value: Any
    """The new value of the snapshot's part; ``None`` when nothing was learned."""
    error: Failure | None
    finished: float
    duration: float
    connects: int
    timeouts: int = 0
    """How often no answer came in time."""


async def run(
    collector: Collector,
    client: NodeClient,
    snapshot: Snapshot,
    clock: Clock,
    fetch: Callable[[str], Awaitable[str]],
) -> Outcome:
    """Collect once. Only cancellation is raised."""
    part: Learned[Any] | None = getattr(snapshot, collector.name)
    started = clock.monotonic()
    value: Any = None
    error: Failure | None = None
    timeout = client.spec.collect.timeout
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout * _SOFT
    look = Look(clock.now(), until, fetch, part.value if part else None)
    last_resort = loop.call_later(timeout + _GRACE, client.reset)
    try:
        async with asyncio.timeout(timeout):
            value = await collector.collect(client, look)
        if isinstance(value, Partial):
            error = failure(value.error)
            value = value.value
    except NodeError as refusal:
        error = failure(refusal)
    except TimeoutError:
        layer = Layer.BUILDKIT if client.spec.remote else Layer.ENGINE
        error = Failure(layer, Reason.TIMEOUT, f"not finished within {timeout:g} s")
    except Exception as bug:  # a bug in one collector must not end the others
        log.exception("collector failed unexpectedly", collector=collector.name)
        error = unexpected(bug)
    finally:
        last_resort.cancel()
    return Outcome(
        collector.name,
        value,
        error,
        finished=clock.now(),
        duration=clock.monotonic() - started,
        connects=client.transport.connects,
        timeouts=int(error is not None and error.reason is Reason.TIMEOUT),
    )


def unexpected(bug: Exception) -> Failure:
    """Make a failure of an exception that was logged."""
    return Failure(
        Layer.TRANSPORT, Reason.PROTOCOL, f"unexpected {type(bug).__name__}; see the log"
    )


def apply(snapshot: Snapshot, outcome: Outcome) -> Snapshot:
    """Put an outcome into a snapshot. A part that failed keeps its last value."""
    state = snapshot.collectors.get(outcome.collector, _FIRST)
    state = CollectorState(
        success=outcome.error is None,
        duration=outcome.duration,
        last_success=outcome.finished if outcome.error is None else state.last_success,
        timeouts=state.timeouts + outcome.timeouts,
        error=outcome.error,
    )
    changes: dict[str, Any] = {
        "connects": outcome.connects,
        "collectors": {**snapshot.collectors, outcome.collector: state},
    }
    if outcome.value is not None:
        changes[outcome.collector] = Learned(outcome.value, outcome.finished)
    return replace(snapshot, **changes)
