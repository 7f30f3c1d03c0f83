"""What a collector is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError
from exporter.model import NodeSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """What a collector is given besides the node."""

    now: float
    """Seconds since the epoch."""
    fetch: Callable[[str], Awaitable[str]]
    """Gets the text behind an HTTP URL."""
    previous: Any = None
    """What this collector learned of this node before, ``None`` at first."""


@dataclass(frozen=True, slots=True)
class Partial(Generic[T]):
    """What could be learned although something failed. The failure counts, the value is kept."""

    value: T
    error: NodeError


@dataclass(frozen=True, slots=True)
class Collector:
    """One subject. ``name`` is the label value and the snapshot's field.

    ``collect`` returns the new value of that field, or a :class:`Partial` of it, and raises
    :class:`~exporter.errors.NodeError`. It has no deadline: that, its duration and the isolation
    of its failures are the runner's.
    """

    name: str
    interval: Callable[[NodeSpec], float]
    """Seconds from one collection to the next."""
    collect: Callable[[NodeClient, Look], Awaitable[Any]]
    applies: Callable[[NodeSpec], bool] = lambda _: True
