"""The metrics of alerting: what stands, and what reached Alertmanager."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.alerts import Alert, AlertPhase

_SHOWN = (AlertPhase.PENDING, AlertPhase.FIRING)


class AlertMetrics:
    """Shows how many alerts there are, and counts what is sent. ``names``: of every alert."""

    def __init__(self, registry: CollectorRegistry, names: Iterable[str]) -> None:
        self._alerts = Gauge(
            "buildfarm_alerts",
            "Alerts that are pending or firing.",
            ["alertname", "state"],
            registry=registry,
        )
        self._sent = Counter(
            "buildfarm_alertmanager_notifications",
            "Alerts sent to this Alertmanager, again or for the first time.",
            ["alertmanager"],
            registry=registry,
        )
        self._failed = Counter(
            "buildfarm_alertmanager_notifications_failed",
            "Alerts that did not reach this Alertmanager, each time it was tried.",
            ["alertmanager"],
            registry=registry,
        )
        self._waiting = Gauge(
            "buildfarm_alertmanager_queue_length",
            "Alerts that wait to be sent to this Alertmanager.",
            ["alertmanager"],
            registry=registry,
        )
        self._names = tuple(dict.fromkeys(names))
        self.stand(())

    def stand(self, alerts: Iterable[Alert]) -> None:
        """Show how many alerts there are now."""
        there = Tally((alert.name, alert.phase) for alert in alerts)
        for name in self._names:
            for phase in _SHOWN:
                self._alerts.labels(name, phase).set(there[name, phase])

    def sent(self, url: str, number: int) -> None:
        """Count alerts that arrived."""
        self._sent.labels(url).inc(number)

    def failed(self, url: str, number: int) -> None:
        """Count alerts that did not."""
        self._failed.labels(url).inc(number)

    def waiting(self, url: str, number: int) -> None:
        """Show how many wait to be sent."""
        self._sent.labels(url)
        self._failed.labels(url)
        self._waiting.labels(url).set(number)
