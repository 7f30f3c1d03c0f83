"""Hours of a farm's life, as the daemon evaluates them: who is told, and when."""

from __future__ import annotations

from collections import defaultdict

import pytest
from freezegun import freeze_time

from exporter.alerting.rules import rules
from exporter.alerting.state import AlertKey, evaluate
from exporter.alerts import Alert, AlertPhase
from tests.alerting.story import LENGTH, MINUTE, minutes

Spans = dict[tuple[str, str], list[tuple[int, int]]]
"""By the alert's name and the values of its labels: from which minute to which it is firing."""

EXPECTED: Spans = {
    # Silent from minute 30 to 60; the moment at 90 is nobody's business.
    ("BuildFarmNodeUnreachable", "b"): [(32, 60)],
    ("BuildFarmBuilderDown", "b"): [(402, 420)],
    # 15 % of the disk are passed at minute 226.
    ("BuildFarmDiskLow", "a /d"): [(231, 300)],
    ("BuildFarmInodesLow", "a /d"): [(605, 700)],
    ("BuildFarmDiskFullSoon", "a /d"): [(115, 300)],
    ("BuildFarmCacheAboveLimit", "farm0 a"): [(1060, 1200)],
    ("BuildFarmPruneFailed", "farm0 a"): [(250, 310)],
    ("BuildFarmPruneIneffective", "farm0 a"): [(165, 260)],
    ("BuildFarmCanaryFailed", "farm0 a linux/amd64"): [(250, 310)],
    ("BuildFarmCanarySlow", "farm0 a linux/amd64"): [(430, 550)],
    # The last one before the pause is that of minute 1270: a day later it is stale.
    ("BuildFarmCanaryStale", "farm0 a linux/amd64"): [(2711, 2950)],
    ("BuildFarmMultiarchCanaryFailed", "farm"): [(700, 760)],
    ("BuildFarmPlatformEmulated", "b linux/amd64"): [(810, 900)],
    ("BuildFarmCertificateExpiring", "b server"): [(1441, 2200)],
    # A day after minute 300.
    ("BuildFarmOrphanedState", "a"): [(1740, 2000)],
    ("BuildFarmCollectorFailing", "disk b"): [(515, 560)],
}


def told() -> Spans:
    """Run the story through the daemon's evaluation."""
    definitions = rules({})
    alerts: dict[AlertKey, Alert] = {}
    spans: Spans = defaultdict(list)
    for minute, series in minutes():
        result = evaluate(definitions, series, alerts, minute * MINUTE)
        alerts = result.alerts
        for alert in result.changed:
            key = (alert.name, " ".join(value for _, value in alert.labels))
            if alert.phase is AlertPhase.FIRING:
                spans[key].append((minute, LENGTH))
            elif alert.phase is AlertPhase.RESOLVED:
                spans[key][-1] = (spans[key][-1][0], minute)
    return dict(spans)


@pytest.fixture(scope="module")
def spans() -> Spans:
    with freeze_time("1970-01-01"):
        return told()


def test_everything_that_happens_is_told_once(spans: Spans) -> None:
    assert spans == EXPECTED


def test_every_alert_is_in_the_story(spans: Spans) -> None:
    assert {name for name, _ in spans} == {rule.name for rule in rules({})}
