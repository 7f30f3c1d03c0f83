"""What of a daemon has to do with alerts, on metrics, a store and a clock of the test's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.alerting.expression import Series
from exporter.alerting.rules import rules
from exporter.alerts import Alert, AlertingSettings, AlertPhase
from exporter.errors import Layer, StorageError
from exporter.exposition.alerts import AlertMetrics
from exporter.model import Learned, NodeSpec, Reachability, UnixEndpoint
from exporter.notifying import Alerting
from exporter.snapshots import Snapshots

DISK = {"node": "a", "path": "/d"}
SITE = "http://exporter:9972"


def disk(available: float, size: float = 100.0) -> Series:
    return {
        "buildfarm_disk_available_bytes": [(DISK, available)],
        "buildfarm_disk_size_bytes": [(DISK, size)],
    }


LOW, WELL = disk(10.0), disk(50.0)


@dataclass
class MemoryStore:
    """A store that can fail."""

    rows: dict[Any, Alert] = field(default_factory=dict)
    broken: bool = False

    async def load(self) -> list[Alert]:
        if self.broken:
            raise StorageError("no disk")
        return list(self.rows.values())

    async def save(self, changed: Collection[Alert], ended: Collection[Alert]) -> None:
        if self.broken:
            raise StorageError("no disk")
        for alert in ended:
            self.rows.pop(alert.key, None)
        self.rows |= {alert.key: alert for alert in changed}


class Daemon:
    """What of a daemon has to do with alerts; its time is set by hand."""

    def __init__(self, store: MemoryStore | None = None, now: float = 0.0, **settings: Any) -> None:
        self.now = now
        self.series: Series = WELL
        endpoint = UnixEndpoint("/s")
        self.snapshots = Snapshots(
            [NodeSpec("a", endpoint, labels={"farm": "ci", "rack": "r1"}), NodeSpec("b", endpoint)]
        )
        self.registry = CollectorRegistry()
        metrics = AlertMetrics(self.registry, [rule.name for rule in rules({})])
        self.alerting = Alerting(
            AlertingSettings(labels={"farm": "ci"}, **settings),
            self.snapshots,
            lambda: self.series,
            store,
            metrics,
            SITE,
            lambda: self.now,
            Random(1),
        )

    def know(self, name: str, *, up: bool) -> None:
        reach = Reachability({Layer.TRANSPORT: up}, None, 0.1)
        self.snapshots.update(
            name, lambda snapshot: replace(snapshot, reachability=Learned(reach, self.now))
        )

    async def until(self, now: float, series: Series) -> None:
        """Evaluate every 5 s until then, the last time at that time."""
        self.series = series
        while self.now < now:
            self.now = min(self.now + 5.0, now)
            await self.alerting.tick()

    @property
    def phases(self) -> list[tuple[str, AlertPhase]]:
        return [(shown.alert.name, shown.alert.phase) for shown in self.alerting.shown()]

    def gauge(self, state: str, name: str = "BuildFarmDiskLow") -> float | None:
        labels = {"alertname": name, "state": state}
        return self.registry.get_sample_value("buildfarm_alerts", labels)
