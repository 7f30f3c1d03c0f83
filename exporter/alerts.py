"""Alerts: what is set about them and how they stand. Plain frozen data.

Durations are seconds, points in time seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.model import TlsFiles

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


class AlertPhase(StrEnum):
    """How an alert stands: the values of the label ``state`` and one more."""

    PENDING = "pending"
    """It is so, but not yet for long enough."""
    FIRING = "firing"
    RESOLVED = "resolved"
    """It was firing, and is not so any more. Told for some minutes, then forgotten."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a farm changes of one alert. ``None``: nothing."""

    enabled: bool = True
    for_: float | None = None
    severity: str | None = None
    bytes: int | None = None
    share: float | None = None
    """0 to 1. Of ``bytes`` and ``share`` at most one is set."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """One Alertmanager, and how to be let in."""

    url: str
    tls: TlsFiles | None = None
    bearer_token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class AlertingSettings:
    """What is evaluated, and who is told."""

    changes: Mapping[str, Change] = field(default_factory=dict)
    """By the alert's name."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the whole farm; a node's own are in its :class:`~exporter.model.NodeSpec`."""
    alertmanagers: tuple[AlertmanagerSettings, ...] = ()
    resend: float = 60.0


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it stands. ``name`` and ``labels`` together are its identity."""

    name: str
    labels: Labels
    """Stable ones, without ``alertname``."""
    active_since: float
    """Since when it is so."""
    value: float
    """The last one while it was so."""
    phase: AlertPhase = AlertPhase.PENDING
    fired_at: float | None = None
    resolved_at: float | None = None
    seen_at: float = 0.0
    """When it was last evaluated before it was over."""

    @property
    def key(self) -> tuple[str, Labels]:
        """Its identity."""
        return self.name, self.labels
