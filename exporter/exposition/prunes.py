"""The metrics of pruning: what was decided, and what came of it."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.prunes import BuilderKey, Decision, Outcome, PruneRecord, Trigger, Verdict

_BUILDER = ("node", "builder")
_BUCKETS = (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class PruneMetrics:
    """Counts prunes since the start; what comes of a decision is shown as it stands.

    ``nodes``: names of those in the configuration. The history knows others too.
    """

    def __init__(self, registry: CollectorRegistry, nodes: Collection[str]) -> None:
        self._nodes = nodes
        self._prunes = Counter(
            "buildfarm_prunes",
            "Prunes that ended, however, by what made them due.",
            [*_BUILDER, "trigger"],
            registry=registry,
        )
        self._failed = Counter(
            "buildfarm_prunes_failed",
            "Prunes that failed or were interrupted.",
            _BUILDER,
            registry=registry,
        )
        self._deferred = Counter(
            "buildfarm_prunes_deferred",
            "Due prunes that were put off because builds ran.",
            _BUILDER,
            registry=registry,
        )
        self._ineffective = Counter(
            "buildfarm_prunes_ineffective",
            "Prunes after which what had made them due was still there.",
            _BUILDER,
            registry=registry,
        )
        self._reclaimed = Counter(
            "buildfarm_prune_reclaimed_bytes",
            "Size of the cache records that prunes removed.",
            _BUILDER,
            registry=registry,
        )
        self._duration = Histogram(
            "buildfarm_prune_duration_seconds",
            "How long prunes took, until the filesystem stood still.",
            _BUILDER,
            buckets=_BUCKETS,
            registry=registry,
        )
        self._last = Gauge(
            "buildfarm_prune_last_timestamp_seconds",
            "When the last prune ended.",
            _BUILDER,
            registry=registry,
        )
        self._last_success = Gauge(
            "buildfarm_prune_last_success",
            "Whether the last prune ended well.",
            _BUILDER,
            registry=registry,
        )
        self._due = Gauge(
            "buildfarm_prune_due",
            "1 while a threshold is passed; the verdict says what is done about it.",
            [*_BUILDER, "verdict"],
            registry=registry,
        )
        self._orphans_removed = Counter(
            "buildfarm_orphaned_state_volumes_removed",
            "Orphaned state volumes that were removed.",
            ["node"],
            registry=registry,
        )
        self._counters = (self._failed, self._deferred, self._ineffective, self._reclaimed)
        self._prepared: set[BuilderKey] = set()
        self._shown: dict[BuilderKey, Verdict] = {}

    def decided(self, decision: Decision) -> None:
        """Take the decision on a builder that holds from now on."""
        if decision.key not in self._prepared:
            self._prepare(decision.key)
        if self._shown.get(decision.key) is not decision.verdict:
            self._hide(decision.key)
        if decision.trigger is not None:
            self._due.labels(*decision.key, decision.verdict).set(1)
            self._shown[decision.key] = decision.verdict

    def deferred(self, decision: Decision) -> None:
        """Count a due prune that starts to wait for builds."""
        self._deferred.labels(*decision.key).inc()

    def forgotten(self, key: BuilderKey) -> None:
        """Let go of a builder that is not there, or not selected, any more."""
        self._hide(key)
        self._prepared.discard(key)
        for trigger in Trigger:
            self._prunes.remove(*key, trigger)
        for metric in (*self._counters, self._duration, self._last, self._last_success):
            metric.remove(*key)

    def ended(self, record: PruneRecord) -> None:
        """Count a prune that ended."""
        self.known(record)
        if record.outcome is Outcome.DRY_RUN or record.node not in self._nodes:
            return
        self._prunes.labels(*record.key, record.trigger).inc()
        if record.outcome is not Outcome.OK:
            self._failed.labels(*record.key).inc()
        if record.effective is False:
            self._ineffective.labels(*record.key).inc()
        self._reclaimed.labels(*record.key).inc(record.reclaimed)
        if record.duration is not None:
            self._duration.labels(*record.key).observe(record.duration)

    def known(self, record: PruneRecord) -> None:
        """Show when the last prune was, of one before this start too."""
        if record.node not in self._nodes:
            return
        self._last.labels(*record.key).set(record.ended_at)
        if record.outcome in (Outcome.OK, Outcome.FAILED, Outcome.INTERRUPTED):
            self._last_success.labels(*record.key).set(record.outcome is Outcome.OK)

    def orphan_removed(self, node: str, volume: str) -> None:
        """Count an orphaned volume that was removed."""
        del volume
        self._orphans_removed.labels(node).inc()

    def _prepare(self, key: BuilderKey) -> None:
        """Start every counter at zero: an increase from nothing would not be seen."""
        self._prepared.add(key)
        for trigger in Trigger:
            self._prunes.labels(*key, trigger)
        for metric in self._counters:
            metric.labels(*key)
        self._duration.labels(*key)

    def _hide(self, key: BuilderKey) -> None:
        verdict = self._shown.pop(key, None)
        if verdict is not None:
            self._due.remove(*key, verdict)
