"""How alerts come and go: pending, firing, resolved. Pure: what was, what is so now, and the time.

The same as Prometheus does with its rules: an alert fires when its condition has held at every
evaluation for as long as ``for`` says, and at once where that is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from exporter.alerting.expression import Series
from exporter.alerting.rules import Rule
from exporter.alerts import Alert, AlertPhase, Labels

RESOLVED_FOR = 300.0
"""Seconds for which an alert that ended is still told of, even when everyone has heard of it."""
AWAY = 120.0
"""Seconds without an evaluation that still count as time for which a condition held."""
RESOLVED_AT_MOST = 86400.0
"""Seconds after which nobody is told any more that an alert ended, even who has not heard of it."""

AlertKey = tuple[str, Labels]
Alerts = Mapping[AlertKey, Alert]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The alerts after an evaluation, and which of them just changed their phase."""

    alerts: dict[AlertKey, Alert]
    changed: tuple[Alert, ...]
    """Those that began, fired, resolved, or ended while pending (then they are in ``ended``)."""
    ended: tuple[Alert, ...]
    """Those that are not told of any more: forgotten."""


def evaluate(
    rules: Iterable[Rule],
    series: Series,
    alerts: Alerts,
    now: float,
    unknown: Callable[[Alert], bool] = lambda _: False,
    heard: Callable[[Alert], bool] = lambda _: True,
) -> Evaluated:
    """Evaluate all rules.

    ``unknown``: whether nobody has looked yet at what an alert is about. Then it stands as it
    stood: after a restart nothing is resolved because nothing is known. ``heard``: whether
    everyone who is told has heard of an alert's end.
    """
    after: dict[AlertKey, Alert] = {}
    changed: list[Alert] = []
    for rule in rules:
        for labels, value in rule.condition.evaluate(series, now).items():
            before = alerts.get((rule.name, labels))
            alert = _holds(rule, labels, value, before, now)
            after[alert.key] = alert
            if before is None or before.phase is not alert.phase:
                changed.append(alert)
    ended: list[Alert] = []
    for key, before in alerts.items():
        if key in after:
            continue
        if before.phase is not AlertPhase.RESOLVED and unknown(before):
            after[key] = replace(before, seen_at=now)
            continue
        match before.phase:
            case AlertPhase.PENDING:
                ended.append(before)
            case AlertPhase.FIRING:
                after[key] = replace(before, phase=AlertPhase.RESOLVED, resolved_at=now)
                changed.append(after[key])
            case AlertPhase.RESOLVED:
                ago = now - (before.resolved_at or now)
                if ago >= (RESOLVED_FOR if heard(before) else RESOLVED_AT_MOST):
                    ended.append(before)
                else:
                    after[key] = before
    return Evaluated(after, tuple(changed), tuple(ended))


def resume(alert: Alert, now: float) -> Alert:
    """The alert as it stands after a restart: a longer time away does not count for ``for``."""
    away = now - alert.seen_at
    if alert.phase is not AlertPhase.PENDING or away <= AWAY:
        return alert
    return replace(alert, active_since=alert.active_since + away, seen_at=now)


def _holds(rule: Rule, labels: Labels, value: float, before: Alert | None, now: float) -> Alert:
    """The alert of a condition that holds."""
    if before is None or before.phase is AlertPhase.RESOLVED:
        before = Alert(rule.name, labels, active_since=now, value=value)
    alert = replace(before, value=value, seen_at=now)
    if alert.phase is AlertPhase.PENDING and now - alert.active_since >= rule.for_:
        alert = replace(alert, phase=AlertPhase.FIRING, fired_at=now)
    return alert
