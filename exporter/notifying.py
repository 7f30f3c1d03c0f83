"""Wiring of alerts: evaluated every few seconds, kept in the store, told to every Alertmanager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import structlog

from exporter.alerting.alertmanager import Alertmanager, moment
from exporter.alerting.expression import Series
from exporter.alerting.rules import Rule, rules
from exporter.alerting.state import AlertKey, evaluate, resume
from exporter.alerting.texts import texts
from exporter.alerts import Alert, AlertingSettings, AlertPhase, Labels
from exporter.exposition.alerts import AlertMetrics
from exporter.exposition.series import SeriesView
from exporter.model import Snapshot
from exporter.snapshots import Snapshots
from exporter.tolerant import Tolerant
from exporter.web.alerts import ShownAlert

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from exporter.storage.database import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

TICK = 5.0
"""Seconds between two evaluations."""

# Seconds between two notes in the store that a pending alert is still so.
_NOTED = 30.0
# How many times an alert may fail to be sent again before Alertmanager takes it for ended.
_ENDS_AFTER = 4
# For so many times nothing is said after a start of what nobody has looked at since. Alertmanager
# may have taken it for ended long ago: only what is still so is a reason to tell people again.
_WAITS = 2


class Store(Protocol):
    """Where alerts are written down. Methods may raise :class:`~exporter.errors.StorageError`."""

    async def load(self) -> list[Alert]:
        """Return all alerts as they stood."""
        ...

    async def save(self, changed: Collection[Alert], ended: Collection[Alert]) -> None:
        """Write those that changed, and forget those that ended."""
        ...


class Alerting:
    """Every alert of the farm. One event loop owns it.

    ``site``: the address under which people reach this exporter. Without a ``store`` a restart
    forgets what stood.
    """

    def __init__(
        self,
        settings: AlertingSettings,
        snapshots: Snapshots,
        series: Callable[[], Series],
        store: Store | None,
        metrics: AlertMetrics,
        site: str,
        now: Callable[[], float],
        rng: Random,
    ) -> None:
        self._settings = settings
        self._rules = rules(settings.changes)
        self._by_name: dict[str, Rule] = {rule.name: rule for rule in self._rules}
        self._snapshots = snapshots
        self._series = series
        self._store = store
        self._metrics = metrics
        self._site = site
        self._now = now
        self._managers = [Alertmanager(manager, metrics, rng) for manager in settings.alertmanagers]
        self._alerts: dict[AlertKey, Alert] = {}
        self._unseen: set[AlertKey] = set()
        """Those from before the start that nobody has looked at since."""
        self._unwritten: dict[AlertKey, Alert | None] = {}
        """What the store does not know yet; ``None``: that it ended."""
        self._tolerant = Tolerant("alerts")
        self._started = now()
        self._offered: float | None = None
        self._noted = self._started

    def shown(self) -> list[ShownAlert]:
        """Every alert as it stands, firing ones first."""
        order = list(reversed(AlertPhase))
        found = sorted(self._alerts.values(), key=lambda a: (-order.index(a.phase), a.key))
        return [ShownAlert(alert, self._labels(alert), self._annotations(alert)) for alert in found]

    async def load(self) -> None:
        """Learn how alerts stood before this start. What can't be read is forgotten, and told.

        Those of nodes and rules that are not in this configuration are left alone: the store may
        be shared, and Alertmanager ends what nobody tells of any more.
        """
        if self._store is None:
            return
        found = await self._tolerant.do(self._store.load)
        now = self._now()
        self._alerts = {a.key: resume(a, now) for a in found or () if self._ours(a)}
        self._unseen = set(self._alerts)

    async def run(self, stop: asyncio.Event) -> None:
        """Evaluate and tell until ``stop`` is set."""
        async with AsyncExitStack() as stack:
            for manager in self._managers:
                await stack.enter_async_context(manager)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(manager.run(), name=f"alertmanager/{manager.name}")
                    for manager in self._managers
                ]
                tasks.append(group.create_task(self._repeat(), name="alerts"))
                await stop.wait()
                for task in tasks:
                    task.cancel()
            self._note()
            await self._write()

    async def _repeat(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:  # a bug in one alert must not silence the others for good
                log.exception("alerts can't be evaluated")
            await asyncio.sleep(TICK)

    async def tick(self) -> None:
        """Evaluate once, write down what changed, and tell."""
        now = self._now()
        series = self._series()
        unseen: set[AlertKey] = set()

        def unknown(alert: Alert) -> bool:
            if alert.key in self._unseen and self._unknown(series, alert):
                unseen.add(alert.key)
            return alert.key in unseen

        result = evaluate(self._rules, series, self._alerts, now, unknown, self._heard)
        news = any(alert.phase is not AlertPhase.PENDING for alert in result.changed)
        news = news or unseen != self._unseen
        self._alerts, self._unseen = result.alerts, unseen
        self._metrics.stand(result.alerts.values())
        for alert in result.changed:
            self._unwritten[alert.key] = alert
            self._tell(alert)
        for alert in result.ended:
            self._unwritten[alert.key] = None
        # The clock may have been set back, here and below.
        if not 0 <= now - self._noted < _NOTED:
            self._noted = now
            self._note()
        # First: whoever is killed in between tells it after the restart, and nothing else.
        await self._write()
        due = self._offered is None or not 0 <= now - self._offered < self._settings.resend
        if news or due:
            self._offered = now
            payload = self.payload(now)
            for manager in self._managers:
                manager.offer(payload, now)

    def payload(self, now: float) -> list[dict[str, Any]]:
        """What Alertmanager is to know at ``now``."""
        interval = max(self._settings.resend, TICK)
        ends = now + _ENDS_AFTER * interval
        silent = self._unseen if now - self._started < _WAITS * interval else set()
        return [
            {
                "labels": {"alertname": alert.name, **self._labels(alert)},
                "annotations": self._annotations(alert),
                "startsAt": moment(alert.fired_at or alert.active_since),
                "endsAt": moment(ends if alert.resolved_at is None else alert.resolved_at),
                "generatorURL": self._page(alert),
            }
            for alert in self._alerts.values()
            if alert.phase is not AlertPhase.PENDING and alert.key not in silent
        ]

    def _labels(self, alert: Alert) -> dict[str, str]:
        node = self._node(alert.labels)
        added: Mapping[str, str] = node.node.labels if node else self._settings.labels
        return {**added, "severity": self._by_name[alert.name].severity, **dict(alert.labels)}

    def _annotations(self, alert: Alert) -> dict[str, str]:
        return texts(self._by_name[alert.name], alert.labels, alert.value, self._site)

    def _page(self, alert: Alert) -> str:
        node = dict(alert.labels).get("node")
        return f"{self._site}/" + (f"#{quote(node, safe='')}" if node else "")

    def _ours(self, alert: Alert) -> bool:
        """Whether its rule and its node are in the configuration."""
        known = "node" not in dict(alert.labels) or self._node(alert.labels) is not None
        return known and alert.name in self._by_name

    def _heard(self, alert: Alert) -> bool:
        """Whether every Alertmanager knows of its end."""
        return all(manager.told_at >= (alert.resolved_at or 0.0) for manager in self._managers)

    def _node(self, labels: Labels) -> Snapshot | None:
        name = dict(labels).get("node")
        return self._snapshots.find(name) if name is not None else None

    def _unknown(self, series: Series, alert: Alert) -> bool:
        """Whether nobody has looked since the start at what it is about."""
        rule, snapshot = self._by_name[alert.name], self._node(alert.labels)
        if all(_told(series, metric, alert.labels) for metric in rule.condition.metrics()):
            return False
        if self._now() - self._started < rule.learns_in:
            return True
        if snapshot is None or (snapshot.reachability and snapshot.reachability.value.up):
            return False
        return None in (snapshot.workers, snapshot.disk, snapshot.cache)

    def _tell(self, alert: Alert) -> None:
        level = "warning" if alert.phase is AlertPhase.FIRING else "info"
        # At its end the last text is what was so, not what is.
        word = "was" if alert.phase is AlertPhase.RESOLVED else "what"
        facts = {word: self._annotations(alert).get("summary"), **dict(alert.labels)}
        getattr(log, level)(f"alert is {alert.phase}", alert=alert.name, **facts)

    def _note(self) -> None:
        """Have it written down until when pending alerts were so."""
        for key, alert in self._alerts.items():
            if alert.phase is AlertPhase.PENDING:
                self._unwritten[key] = alert

    async def _write(self) -> None:
        """Write down what changed. A store that can't be written must not silence alerts."""
        if self._store is None or not self._unwritten:
            return
        batch = dict(self._unwritten)
        changed = [alert for alert in batch.values() if alert is not None]
        ended = [key for key, alert in batch.items() if alert is None]
        gone = [Alert(name, labels, 0.0, 0.0) for name, labels in ended]
        if await self._tolerant.do(partial(self._save, changed, gone)) is None:
            return
        for key, alert in batch.items():
            if self._unwritten.get(key, alert) is alert:
                self._unwritten.pop(key, None)

    async def _save(self, changed: Collection[Alert], ended: Collection[Alert]) -> bool:
        assert self._store is not None
        await self._store.save(changed, ended)
        return True


async def open_alerting(
    settings: AlertingSettings,
    snapshots: Snapshots,
    registry: CollectorRegistry,
    database: Database | None,
    site: str,
    now: Callable[[], float],
    rng: Random,
) -> Alerting:
    """Learn how alerts stood, and make ready what evaluates them.

    They are evaluated by the numbers that Prometheus gets: those of the nodes' snapshots, and those
    that ``registry`` keeps.
    """
    store = None
    if database is not None:
        from exporter.storage.alerts import AlertStore  # noqa: PLC0415 - a slow import

        store = AlertStore(database)
    definitions = rules(settings.changes)
    view = SeriesView(registry, {name for rule in definitions for name in rule.condition.metrics()})
    snapshots.subscribe(view.update)
    metrics = AlertMetrics(registry, [rule.name for rule in definitions])
    alerting = Alerting(settings, snapshots, view, store, metrics, site, now, rng)
    await alerting.load()
    return alerting


def _told(series: Series, metric: str, labels: Labels) -> bool:
    """Whether there is a sample of the metric that can be about what has these labels."""
    return any(
        all(there.get(name, value) == value for name, value in labels)
        for there, _ in series.get(metric, ())
    )
