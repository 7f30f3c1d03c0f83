"""``/api/v1/alerts``: what is pending, firing or just resolved, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from exporter.alerts import Alert, AlertPhase


@dataclass(frozen=True, slots=True)
class ShownAlert:
    """An alert with all its labels but the name, and its texts."""

    alert: Alert
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class AlertApi:
    """Answers with the alerts as they stand."""

    def __init__(self, alerts: Callable[[], Sequence[ShownAlert]]) -> None:
        self._alerts = alerts

    def firing(self) -> list[ShownAlert]:
        """Those that people are told of now."""
        return [shown for shown in self._alerts() if shown.alert.phase is AlertPhase.FIRING]

    async def alerts(self, _: web.Request) -> web.Response:
        """All alerts, firing ones first."""
        return web.json_response(
            {
                "alerts": [
                    {
                        "alertname": shown.alert.name,
                        "state": shown.alert.phase,
                        "labels": dict(shown.labels),
                        "annotations": dict(shown.annotations),
                        "value": shown.alert.value,
                        "active_since": shown.alert.active_since,
                        "fired_at": shown.alert.fired_at,
                        "resolved_at": shown.alert.resolved_at,
                    }
                    for shown in self._alerts()
                ]
            }
        )
