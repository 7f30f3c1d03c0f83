"""The metrics of canary builds: what the latest came to, and how many there were."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from statistics import median

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.canaries import CanaryKey, CanaryOutcome, CanaryRecord, MultiarchRecord, Step

Place = tuple[str, str, str, str]
"""Values of the labels node, builder, platform, emulated."""

REMEMBERED = 20
"""How many successful builds tell what is usual."""

_FEWEST = 3

_LABELS = ("node", "builder", "platform", "emulated")


class CanaryMetrics:
    """Counts canary builds since the start; the latest ones are shown as they stand.

    ``nodes``: names of those with canary settings. The history knows others too, and builds by
    hand of what is never built otherwise: nothing would ever end what is shown of them.
    """

    def __init__(self, registry: CollectorRegistry, nodes: Collection[str]) -> None:
        self._nodes = nodes

        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(f"buildfarm_canary_{name}", text, [*_LABELS, *more], registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(f"buildfarm_canary_{name}", text, _LABELS, registry=registry)

        self._success = gauge("success", "Whether the last canary build succeeded.")
        self._duration = gauge("duration_seconds", "How long the last canary build took.")
        self._usual = gauge(
            "usual_duration_seconds",
            "The median of the successful canary builds before the last one.",
        )
        self._last = gauge("last_run_timestamp_seconds", "When the last canary build ended.")
        self._step = gauge(
            "step_duration_seconds", "How long a step of the last canary build took.", "step"
        )
        self._throughput = gauge(
            "throughput_bytes_per_second", "How fast a step of the last canary build was.", "step"
        )
        self._runs = counter("runs", "Canary builds, and those that a missing platform prevented.")
        self._failed = counter("runs_failed", "Canary builds that did not succeed.")
        self._skipped = counter("skipped", "Canary builds that were due, but left out.")
        self._planned: dict[str, set[CanaryKey]] = {}
        """By node; of a node that is not here yet everything is shown."""
        self._shown: set[Place] = set()
        self._durations: dict[Place, deque[float]] = {}
        self.multiarch = MultiarchMetrics(registry)

    def planned(self, node: str, places: Collection[Place]) -> None:
        """Take what there is to build on a node from now on; what is shown of others goes."""
        self._planned[node] = {one[:3] for one in places}
        self._keep({one for one in self._shown if one[0] != node} | set(places))
        for one in places:
            self._prepare(one)

    def known(self, record: CanaryRecord) -> None:
        """Show a build as the latest, one of before this start too; give older ones first."""
        if not self._wanted(record.key) or record.success is None:
            return
        here = place(record.key, record.emulated)
        # A platform that was native may be emulated now, or the other way round.
        self._keep({one for one in self._shown if one[:3] != record.key} | {here})
        self._prepare(here)
        self._success.labels(*here).set(record.success)
        self._last.labels(*here).set(record.finished_at)
        built = record.outcome is not CanaryOutcome.MISSING
        _show(self._duration, here, record.duration if built else None)
        before = self._durations.setdefault(here, deque(maxlen=REMEMBERED))
        _show(self._usual, here, median(before) if len(before) >= _FEWEST else None)
        if record.success:
            before.append(record.duration)
        for step in Step:
            time = record.steps.get(step)
            told = None if time is None or time.cached else time
            _show(self._step, (*here, step), told.seconds if told else None)
            _show(self._throughput, (*here, step), told.throughput if told else None)

    def ended(self, record: CanaryRecord) -> None:
        """Count a build that ended, or was left out."""
        if not self._wanted(record.key):
            return
        here = place(record.key, record.emulated)
        if record.success is None:
            # Who can't be asked may be taken for another kind: that is no reason for new series.
            here = next((one for one in self._shown if one[:3] == record.key), here)
            self._prepare(here)
            self._skipped.labels(*here).inc()
            return
        self.known(record)
        self._runs.labels(*here).inc()
        self._failed.labels(*here).inc(not record.success)

    def _wanted(self, key: CanaryKey) -> bool:
        node = key[0]
        return node in self._nodes and key in self._planned.get(node, {key})

    def _prepare(self, here: Place) -> None:
        """Start the counters at zero: an increase from nothing would not be seen."""
        self._shown.add(here)
        for counter in (self._runs, self._failed, self._skipped):
            counter.labels(*here)

    def _keep(self, wanted: Collection[Place]) -> None:
        for gone in self._shown - set(wanted):
            self._shown.discard(gone)
            self._durations.pop(gone, None)
            for metric in (self._success, self._duration, self._usual, self._last):
                metric.remove(*gone)
            for counter in (self._runs, self._failed, self._skipped):
                counter.remove(*gone)
            for step in Step:
                self._step.remove(*gone, step)
                self._throughput.remove(*gone, step)


class MultiarchMetrics:
    """The same of the canary build over the whole farm."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"buildfarm_multiarch_canary_{name}", text, ["builder"], registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(
                f"buildfarm_multiarch_canary_{name}", text, ["builder"], registry=registry
            )

        self._success = gauge("success", "Whether the last whole-farm canary build succeeded.")
        self._duration = gauge(
            "duration_seconds", "How long the last whole-farm canary build took, to its checks."
        )
        self._steps = gauge("steps", "Steps of its second run, on other nodes than the first.")
        self._cached = gauge(
            "cached_steps", "Of these steps, those that came from the shared cache."
        )
        self._platforms = gauge("platforms", "Platforms in the image index that it pushed.")
        self._last = gauge(
            "last_run_timestamp_seconds", "When the last whole-farm canary build ended."
        )
        self._runs = counter("runs", "Whole-farm canary builds.")
        self._failed = counter("runs_failed", "Whole-farm canary builds that did not succeed.")

    def planned(self, builder: str) -> None:
        """Start the counters at zero."""
        self._runs.labels(builder)
        self._failed.labels(builder)

    def known(self, record: MultiarchRecord) -> None:
        """Show the latest build, one of before this start too."""
        builder = (record.builder,)
        self._success.labels(*builder).set(record.outcome is CanaryOutcome.OK)
        self._duration.labels(*builder).set(record.duration)
        self._platforms.labels(*builder).set(len(record.pushed))
        self._last.labels(*builder).set(record.finished_at)
        second = record.second
        _show(self._steps, builder, second.steps if second else None)
        _show(self._cached, builder, second.cached if second else None)

    def ended(self, record: MultiarchRecord) -> None:
        """Count a build that ended."""
        self.known(record)
        self._runs.labels(record.builder).inc()
        self._failed.labels(record.builder).inc(record.outcome is not CanaryOutcome.OK)


def place(key: CanaryKey, emulated: bool) -> Place:
    """Give the labels' values of a platform on a builder."""
    return (*key, "true" if emulated else "false")


def _show(metric: Gauge, labels: Collection[str], value: float | None) -> None:
    """Set a value, or have no series where there is none."""
    if value is None:
        metric.remove(*labels)
    else:
        metric.labels(*labels).set(value)
