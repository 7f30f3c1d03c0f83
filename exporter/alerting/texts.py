"""What alerts say, here and in Prometheus' rules: one text, filled in by either."""

from __future__ import annotations

import re
from collections.abc import Callable

from exporter.alerting.rules import Rule, Unit
from exporter.alerts import Labels
from exporter.words import duration, size

_TEMPLATES = {
    Unit.NOTHING: "{{ $value }}",
    Unit.BYTES: "{{ $value | humanize1024 }}B",
    Unit.SHARE: "{{ $value | humanizePercentage }}",
    Unit.SECONDS: "{{ $value | humanizeDuration }}",
}
_Fill = Callable[[str], str]
_BRACES = re.compile(r"\{(\w+)\}")


def texts(rule: Rule, labels: Labels, value: float, site: str) -> dict[str, str]:
    """The annotations of one alert. ``site``: the address of the exporter."""
    fields = {**dict(labels), "value": _words(rule.unit, value)}
    return _annotations(rule, site, lambda name: fields.get(name, ""))


def templates(rule: Rule, site: str) -> dict[str, str]:
    """The same for Prometheus, which fills in labels and value itself."""

    def fill(name: str) -> str:
        return _TEMPLATES[rule.unit] if name == "value" else f"{{{{ $labels.{name} }}}}"

    return _annotations(rule, site, fill)


def runbook_url(name: str, site: str) -> str:
    """Where the exporter serves what to do about an alert."""
    return f"{site}/runbooks/{name}"


def _annotations(rule: Rule, site: str, fill: _Fill) -> dict[str, str]:
    def filled(text: str) -> str:
        return _BRACES.sub(lambda match: fill(match[1]), text)

    return {
        "summary": filled(rule.summary),
        "description": filled(rule.description),
        "runbook_url": runbook_url(rule.name, site),
    }


def _words(unit: Unit, value: float) -> str:
    match unit:
        case Unit.BYTES:
            return size(value)
        case Unit.SHARE:
            return f"{value:.1%}"
        case Unit.SECONDS:
            return duration(value) if value >= 0 else f"{duration(-value)} (past)"
        case Unit.NOTHING:
            return f"{value:g}"
