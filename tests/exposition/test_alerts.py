"""The metrics of alerting."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from exporter.alerts import Alert, AlertPhase
from exporter.exposition.alerts import AlertMetrics

URL = "http://alertmanager:9093"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> AlertMetrics:
    return AlertMetrics(registry, ["A", "B"])


def alert(name: str, node: str, phase: AlertPhase) -> Alert:
    return Alert(name, (("node", node),), 0.0, 1.0, phase)


def standing(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["alertname"], sample.labels["state"]): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "buildfarm_alerts"
    }


def test_an_alert_that_never_was_is_there_with_zero(
    registry: CollectorRegistry, metrics: AlertMetrics
) -> None:
    assert standing(registry) == {
        (name, state): 0 for name in ("A", "B") for state in ("pending", "firing")
    }


def test_how_many_there_are(registry: CollectorRegistry, metrics: AlertMetrics) -> None:
    """One that is over is neither pending nor firing."""
    pending, firing, resolved = AlertPhase
    rows = [("1", firing), ("2", firing), ("3", pending), ("4", resolved)]
    metrics.stand(alert("A", node, phase) for node, phase in rows)
    assert standing(registry) == {
        ("A", "pending"): 1,
        ("A", "firing"): 2,
        ("B", "pending"): 0,
        ("B", "firing"): 0,
    }
    metrics.stand(())
    assert not any(standing(registry).values())


def test_what_is_sent(registry: CollectorRegistry, metrics: AlertMetrics) -> None:
    """All three are there from the start on."""

    def now() -> list[float | None]:
        name = "buildfarm_alertmanager"
        return [
            registry.get_sample_value(f"{name}_{what}", {"alertmanager": URL})
            for what in ("notifications_total", "notifications_failed_total", "queue_length")
        ]

    metrics.waiting(URL, 0)
    assert now() == [0, 0, 0]
    metrics.waiting(URL, 2)
    metrics.failed(URL, 2)
    metrics.failed(URL, 2)
    assert now() == [0, 4, 2]
    metrics.sent(URL, 2)
    metrics.waiting(URL, 0)
    assert now() == [2, 4, 0]
