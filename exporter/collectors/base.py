"""What a collector is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError
from exporter.model import Failure, NodeSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What a collector is given besides the node."""

    now: float
    """Seconds since the epoch."""
    until: float
    """The event loop's time by which to return what is known: shortly before the hard deadline."""
    fetch: Callable[[str], Awaitable[str]]
    """Gets the text behind an HTTP URL."""
    previous: Any = None
    """What this collector learned of this node before, ``None`` at first."""


@dataclass(frozen=True, slots=True)
class Partial(Generic[T]):
    """What could be learned although something failed. The failure counts, the value is kept."""

    value: T
    error: NodeError


_DETAIL = 400


def failure(error: NodeError) -> Failure:
    """Turn an error into data: one line that can be printed, for a node may say anything."""
    line = " ".join(error.detail.split())
    clean = "".join(char if char.isprintable() else "?" for char in line)
    return Failure(error.layer, error.reason, clean[:_DETAIL])


@dataclass(frozen=True, slots=True)
class Collector:
    """One subject. ``name`` is the label value and the snapshot's field.

    ``collect`` returns the new value of that field, or a :class:`Partial` of it, and raises
    :class:`~exporter.errors.NodeError`. Its hard deadline, its duration and the isolation of its
    failures are the runner's; what can be had in part must be returned by ``look.until``.
    """

    name: str
    interval: Callable[[NodeSpec], float]
    """Seconds from one collection to the next."""
    collect: Callable[[NodeClient, Look], Awaitable[Any]]
    applies: Callable[[NodeSpec], bool] = lambda _: True
