"""Hours on a farm of two nodes, minute by minute: what is known, and when people should hear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from prometheus_client import CollectorRegistry

from exporter.alerting.rules import rules
from exporter.canaries import CanaryOutcome, CanaryRecord, CanaryTrigger, MultiarchRecord
from exporter.errors import Layer, Reason
from exporter.exposition.canaries import CanaryMetrics
from exporter.exposition.prunes import PruneMetrics
from exporter.exposition.series import Samples, SeriesView
from exporter.model import (
    BuilderPlatform,
    Certificates,
    CollectorState,
    Disk,
    Failure,
    Learned,
    Orphans,
    Reachability,
    Snapshot,
    Workers,
)
from exporter.prunes import Decision, Outcome, PruneRecord, Trigger, Verdict
from tests.exposition.known import ENGINE, FARM0, UP, cache, known

MINUTE = 60.0
LENGTH = 50 * 60
"""Minutes."""

_SILENT = Failure(Layer.TRANSPORT, Reason.TIMEOUT, "no answer")
DOWN = Reachability(dict.fromkeys(Layer, False), _SILENT, None)
BUILDER_DOWN = Reachability(
    {Layer.TRANSPORT: True, Layer.ENGINE: True, Layer.BUILDKIT: False},
    Failure(Layer.BUILDKIT, Reason.BUILDKIT, "gone"),
    None,
)
_GIB = 1024**3


class Farm:
    """The farm at one minute after the other."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        metrics = {name for rule in rules({}) for name in rule.condition.metrics()}
        self._view = SeriesView(registry, metrics)
        self._prunes = PruneMetrics(registry, {"a", "b"})
        self._canaries = CanaryMetrics(registry, {"a", "b"})
        self._nodes = {name: self._well(name) for name in ("a", "b")}

    def _well(self, name: str) -> Snapshot:
        snapshot = known(name)
        worker = replace(FARM0, gc_keep=60 * _GIB)
        return replace(
            snapshot,
            node=replace(snapshot.node, platforms=("linux/amd64",)),
            workers=Learned(Workers(ENGINE, (worker,)), 0.0),
            disk=Learned(Disk("/d", 1000, 400, 1000, 500), 0.0),
            cache=Learned((cache("farm0"),), 0.0),
            orphans=Learned(Orphans((), 0), 0.0),
            certificates=Learned(Certificates(400 * 86400.0, 400 * 86400.0), 0.0),
            collectors={"disk": CollectorState(True, 0.1, 0.0, 0)},
        )

    def at(self, minute: int) -> dict[str, Samples]:
        """What is served at a minute since the start."""
        now = minute * MINUTE
        self._nodes["a"] = self._first(self._nodes["a"], minute, now)
        self._nodes["b"] = self._second(self._nodes["b"], minute, now)
        for snapshot in self._nodes.values():
            self._view.update(snapshot)
        self._actions(minute, now)
        return self._view()

    def _first(self, node: Snapshot, minute: int, now: float) -> Snapshot:
        """Its disk fills and is cleared, its cache is too large for hours."""
        available = 400
        full_at = None
        if 100 <= minute < 300:
            available = 400 - 2 * (minute - 100)
            full_at = now + available / 2 * MINUTE
        inodes = 50 if 600 <= minute < 700 else 500
        large = 80 * _GIB if 1000 <= minute < 1200 else 30
        orphaned = 2_000_000_000 if 300 <= minute < 2000 else 0
        return replace(
            node,
            disk=Learned(Disk("/d", 1000, max(available, 0), 1000, inodes, full_at=full_at), now),
            cache=Learned((cache("farm0", large),), now),
            orphans=Learned(Orphans(("v",) if orphaned else (), orphaned), now),
        )

    def _second(self, node: Snapshot, minute: int, now: float) -> Snapshot:
        """It is silent for a while and for a moment, its builder dies, QEMU takes over."""
        reach = UP
        if 30 <= minute < 60 or minute == 90:
            reach = DOWN
        if 400 <= minute < 420:
            reach = BUILDER_DOWN
        emulated = 800 <= minute < 900
        worker = replace(FARM0, platforms=(BuilderPlatform("linux/amd64", emulated),), gc_keep=None)
        failing = reach is DOWN or 500 <= minute < 560
        # It ends in the year's first days, and is renewed on the second.
        ends = 400 * 86400.0 if minute >= 2200 else 15 * 86400.0
        return replace(
            node,
            reachability=Learned(reach, now),
            workers=Learned(Workers(ENGINE, (worker,)), now),
            certificates=Learned(Certificates(ends, 400 * 86400.0), now),
            collectors={"disk": CollectorState(not failing, 0.1, now, 0)},
        )

    def _actions(self, minute: int, now: float) -> None:
        if minute % 60 == 10 and not 1300 <= minute < 2900:
            self._canaries.ended(_canary(minute, now))
        if minute in (700, 760):
            outcome = CanaryOutcome.FAILED if minute == 700 else CanaryOutcome.OK
            self._canaries.multiarch.ended(_multiarch(now, outcome))
        if minute in (250, 310):
            self._prunes.ended(_prune(now, Outcome.FAILED if minute == 250 else Outcome.OK))
        verdict = Verdict.NOTHING_TO_FREE if 150 <= minute < 260 else Verdict.FINE
        trigger = Trigger.DISK if verdict is Verdict.NOTHING_TO_FREE else None
        self._prunes.decided(Decision("a", "farm0", verdict, "", trigger))


def _canary(minute: int, now: float) -> CanaryRecord:
    failed = 240 <= minute < 300
    duration = 30.0 if 420 <= minute < 540 else 10.0
    outcome = CanaryOutcome.FAILED if failed else CanaryOutcome.OK
    return CanaryRecord(
        id=f"{minute}",
        node="a",
        builder="farm0",
        platform="linux/amd64",
        emulated=False,
        trigger=CanaryTrigger.SCHEDULE,
        outcome=outcome,
        started_at=now - duration,
        finished_at=now,
    )


def _multiarch(now: float, outcome: CanaryOutcome) -> MultiarchRecord:
    return MultiarchRecord(f"{now}", "farm", CanaryTrigger.SCHEDULE, outcome, now, now)


def _prune(now: float, outcome: Outcome) -> PruneRecord:
    return PruneRecord(
        id=f"{now}",
        node="a",
        builder="farm0",
        trigger=Trigger.DISK,
        reason="",
        keep=1,
        all=False,
        started_at=now,
        seen_at=now,
        outcome=outcome,
        finished_at=now,
    )


def minutes() -> Iterator[tuple[int, dict[str, Samples]]]:
    """Every minute of the story with what is served then."""
    farm = Farm()
    for minute in range(LENGTH):
        yield minute, farm.at(minute)
