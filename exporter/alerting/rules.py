"""The alerts: one definition each, for the daemon's own evaluation and for Prometheus' rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from exporter.alerting.expression import (
    NOW,
    Arithmetic,
    Both,
    Compare,
    Expression,
    Metric,
    Number,
    Unless,
)
from exporter.alerts import Change

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

EXPORTER_DOWN = "BuildFarmExporterDown"
"""The one alert that only Prometheus can raise."""


class Unit(StrEnum):
    """What the value of an alert is."""

    NOTHING = ""
    """0 or 1: not worth telling."""
    BYTES = "bytes"
    SHARE = "share"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert. The texts have the labels and ``{value}`` in braces."""

    name: str
    condition: Expression
    for_: float
    """Seconds for which it must be so before people are told."""
    severity: str
    summary: str
    description: str
    unit: Unit = Unit.NOTHING
    learns_in: float = MINUTE
    """Seconds after a start until which the absence of its metrics says nothing."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels that tell its alerts apart."""
        return self.condition.labels()


_Seconds = Callable[[str, float], Number]
_Share = Callable[[str, float], float]
_Size = Callable[[str], int | None]

_NODE = ("node",)
_BUILDER = ("node", "builder")
_PLATFORM = ("node", "builder", "platform")

UNREACHABLE = Compare(
    Metric("buildfarm_node_layer_up", _NODE, "min", where=(("layer", ("transport", "engine")),)),
    "==",
    Number(0),
)


def rules(changes: Mapping[str, Change]) -> tuple[Rule, ...]:
    """Every alert that the daemon evaluates, with what the farm changes of it."""
    found = []
    for rule in _rules({name: change for name, change in changes.items() if change.enabled}):
        change = changes.get(rule.name, Change())
        if change.enabled:
            found.append(
                replace(
                    rule,
                    for_=rule.for_ if change.for_ is None else change.for_,
                    severity=change.severity or rule.severity,
                )
            )
    return tuple(found)


def _rules(changes: Mapping[str, Change]) -> Iterator[Rule]:
    def seconds(name: str, usual: float) -> Number:
        change = changes.get(name, Change())
        return Number(usual if change.seconds is None else change.seconds)

    def share(name: str, usual: float) -> float:
        change = changes.get(name, Change())
        return usual if change.share is None else change.share

    def size(name: str) -> int | None:
        return changes.get(name, Change()).bytes

    yield Rule(
        "BuildFarmNodeUnreachable",
        UNREACHABLE,
        2 * MINUTE,
        "critical",
        "Build node {node} does not answer",
        "The machine {node}, or the Docker Engine on it, does not answer. Builds for its "
        "platforms hang, fail, or run emulated elsewhere.",
    )
    yield Rule(
        "BuildFarmBuilderDown",
        _known(_zero(Metric("buildfarm_node_layer_up", _NODE, "min", (("layer", ("buildkit",)),)))),
        2 * MINUTE,
        "critical",
        "A builder on {node} does not answer",
        "The machine {node} answers, but a selected builder on it does not.",
    )
    yield from _disk(share, size)
    yield Rule(
        "BuildFarmDiskFullSoon",
        _known(
            Both(
                Compare(
                    Arithmetic(
                        "-", Metric("buildfarm_disk_full_timestamp_seconds", ("node", "path")), NOW
                    ),
                    "<",
                    seconds("BuildFarmDiskFullSoon", 6 * HOUR),
                ),
                # What fills fast while most of it is free is a build at work.
                Compare(_free_share(), "<", Number(0.5)),
            )
        ),
        15 * MINUTE,
        "warning",
        "The disk of {node} will be full in {value}",
        "As it fills now, the filesystem {path} on {node} will be full in {value}.",
        Unit.SECONDS,
        # So long a forecast takes to be made.
        learns_in=30 * MINUTE,
    )
    yield from _caches(size)
    yield from _canaries(seconds, changes.get("BuildFarmCanarySlow", Change()).seconds)
    yield Rule(
        "BuildFarmPlatformEmulated",
        Compare(Metric("buildfarm_platform_missing", ("node", "platform")), "==", Number(1)),
        10 * MINUTE,
        "warning",
        "{node} does not build {platform} natively",
        "{node} is expected to build {platform} itself, and does not: such builds run under QEMU, "
        "many times slower, or fail.",
    )
    yield Rule(
        "BuildFarmCertificateExpiring",
        Compare(
            Arithmetic(
                "-",
                Metric(
                    "buildfarm_tls_certificate_not_after_timestamp_seconds", ("node", "side"), "min"
                ),
                NOW,
            ),
            "<",
            seconds("BuildFarmCertificateExpiring", 14 * DAY),
        ),
        0,
        "warning",
        "The {side} certificate of {node} ends in {value}",
        "The {side} certificate of the TLS connection to {node} ends in {value}. Builds on it, and "
        "its monitoring, end with it.",
        Unit.SECONDS,
    )
    orphans = size("BuildFarmOrphanedState")
    yield Rule(
        "BuildFarmOrphanedState",
        Compare(
            Metric("buildfarm_orphaned_state_volumes_bytes", _NODE),
            ">",
            Number(1e9 if orphans is None else orphans),
        ),
        DAY,
        "info",
        "{node} holds {value} of orphaned builder state",
        "Volumes of buildx builders that are gone hold {value} on {node}. Nothing uses them.",
        Unit.BYTES,
    )
    yield Rule(
        "BuildFarmCollectorFailing",
        _known(_zero(Metric("buildfarm_collector_success", ("node", "collector"), "min"))),
        15 * MINUTE,
        "warning",
        "The exporter can't look at {collector} of {node}",
        "What is shown of {collector} on {node} is old: the exporter can't refresh it.",
    )


def _disk(share: _Share, size: _Size) -> Iterator[Rule]:
    below = size("BuildFarmDiskLow")
    yield Rule(
        "BuildFarmDiskLow",
        Compare(_free_share(), "<", Number(share("BuildFarmDiskLow", 0.15)))
        if below is None
        else Compare(
            Metric("buildfarm_disk_available_bytes", ("node", "path"), "min"), "<", Number(below)
        ),
        5 * MINUTE,
        "warning",
        "{value} of the disk of {node} is free",
        "Of the filesystem {path} on {node} only {value} is free. Builds fail when it is full.",
        Unit.SHARE if below is None else Unit.BYTES,
    )
    inodes = Metric("buildfarm_disk_inodes", ("node", "path"))
    yield Rule(
        "BuildFarmInodesLow",
        # Some filesystems have no fixed number of inodes, and say zero.
        Both(
            Compare(
                Arithmetic(
                    "/", Metric("buildfarm_disk_inodes_free", ("node", "path"), "min"), inodes
                ),
                "<",
                Number(share("BuildFarmInodesLow", 0.1)),
            ),
            Compare(inodes, ">", Number(0)),
        ),
        5 * MINUTE,
        "warning",
        "{value} of the inodes of {node} are free",
        "Of the inodes of the filesystem {path} on {node} only {value} are free. Builds fail when "
        "there is none, however many bytes are free. BuildKit's own clean-up never looks at them.",
        Unit.SHARE,
    )


def _caches(size: _Size) -> Iterator[Rule]:
    own = Arithmetic(
        "-",
        Metric("buildfarm_cache_size_bytes", _BUILDER, over=("record_type",)),
        Metric("buildfarm_cache_shared_bytes", _BUILDER),
    )
    above = size("BuildFarmCacheAboveLimit")
    yield Rule(
        "BuildFarmCacheAboveLimit",
        Compare(
            own,
            ">",
            Arithmetic("*", Metric("buildfarm_builder_gc_keep_bytes", _BUILDER), Number(1.1))
            if above is None
            else Number(above),
        ),
        HOUR,
        "warning",
        "The cache of {builder} on {node} is {value}",
        "The cache of builder {builder} on {node} is {value}, more than "
        + ("BuildKit's own limit" if above is None else "it should be")
        + ", and stays so.",
        Unit.BYTES,
    )
    yield Rule(
        "BuildFarmPruneFailed",
        _zero(Metric("buildfarm_prune_last_success", _BUILDER, "min")),
        0,
        "warning",
        "The last prune of {builder} on {node} failed",
        "The last prune of the cache of builder {builder} on {node} failed or was interrupted.",
    )
    yield Rule(
        "BuildFarmPruneIneffective",
        Compare(
            Metric(
                "buildfarm_prune_due",
                _BUILDER,
                "max",
                (("verdict", ("nothing_to_free", "refused")),),
            ),
            "==",
            Number(1),
        ),
        15 * MINUTE,
        "warning",
        "Pruning {builder} can't help {node}",
        "A prune of builder {builder} on {node} is due, but would free nothing: the space is not "
        "the cache's, or the settings do not fit the filesystem.",
    )


def _canaries(seconds: _Seconds, slow: float | None) -> Iterator[Rule]:
    took = Metric("buildfarm_canary_duration_seconds", _PLATFORM)
    usual = Metric("buildfarm_canary_usual_duration_seconds", _PLATFORM)
    yield Rule(
        "BuildFarmCanaryFailed",
        _known(_zero(Metric("buildfarm_canary_success", _PLATFORM, "min"))),
        0,
        "warning",
        "The canary build of {platform} on {node} failed",
        "The last canary build of {platform} by builder {builder} on {node} failed: users' builds "
        "there probably do too.",
    )
    yield Rule(
        "BuildFarmMultiarchCanaryFailed",
        _zero(Metric("buildfarm_multiarch_canary_success", ("builder",), "min")),
        0,
        "warning",
        "The canary build over all nodes of {builder} failed",
        "The last multi-platform build through the buildx builder {builder} failed.",
    )
    yield Rule(
        "BuildFarmCanarySlow",
        Both(
            Compare(took, ">", Arithmetic("*", usual, Number(1.5))),
            # Of short builds a moment more is no news.
            Compare(Arithmetic("-", took, usual), ">", Number(5)),
        )
        if slow is None
        else Compare(took, ">", Number(slow)),
        0,
        "warning",
        "The canary build of {platform} on {node} took {value}",
        "The last canary build of {platform} by builder {builder} on {node} took {value}, "
        + ("much longer than usual there." if slow is None else "longer than it should."),
        Unit.SECONDS,
    )
    yield Rule(
        "BuildFarmCanaryStale",
        _known(
            Compare(
                Arithmetic(
                    "-", NOW, Metric("buildfarm_canary_last_run_timestamp_seconds", _PLATFORM)
                ),
                ">",
                seconds("BuildFarmCanaryStale", DAY),
            )
        ),
        0,
        "warning",
        "No canary build of {platform} on {node} for {value}",
        "The last canary build of {platform} by builder {builder} on {node} was {value} ago: it "
        "is skipped each time, or not run at all.",
        Unit.SECONDS,
    )


def _free_share() -> Expression:
    return Arithmetic(
        "/",
        Metric("buildfarm_disk_available_bytes", ("node", "path"), "min"),
        Metric("buildfarm_disk_size_bytes", ("node", "path")),
    )


def _zero(metric: Metric) -> Compare:
    return Compare(metric, "==", Number(0))


def _known(condition: Expression) -> Expression:
    """Only while the node answers: that it does not is told by one alert, not by six."""
    return Unless(condition, UNREACHABLE, ("node",))
