"""Panels on prunes: what they freed, why, and what is due."""

from __future__ import annotations

from grafana_foundation_sdk.builders import statetimeline, timeseries

from grafana.panels import DUE, counted, lines, states
from grafana.queries import legend, quantiles, series
from grafana.words import NO_PRUNES

_BUILDER = ("node", "builder")


def prunes_by_trigger() -> timeseries.Panel:
    """How many prunes, and why."""
    return counted(
        lines(
            "Prunes by trigger",
            "Prunes that ended, by what made them due: the cache's size, the disk, its inodes, "
            "the forecast, or somebody by hand.",
            "short",
            series(
                "sum by (trigger) (increase(buildfarm_prunes_total[$__rate_interval]))",
                "{{trigger}}",
            ),
            absent=NO_PRUNES,
        )
    )


def verdicts() -> statetimeline.Panel:
    """What is done about passed thresholds."""
    return states(
        "Due prunes, and their verdict",
        "Builders for which a threshold is passed, with what is done about it: prune, or wait for "
        "builds, for a turn, for the cooldown; or nothing, since nothing can be freed.",
        series(
            "max by (node, builder, verdict) (buildfarm_prune_due)",
            "{{node}} / {{builder}}: {{verdict}}",
        ),
        DUE,
        "No prune is due",
    )


OF_THE_FARM = (
    counted(
        lines(
            "Freed by prunes, by node",
            "Size of the cache records that prunes removed.",
            "bytes",
            series(
                "sum by (node) (increase(buildfarm_prune_reclaimed_bytes_total[$__rate_interval]))",
                "{{node}}",
            ),
            absent=NO_PRUNES,
        )
    ),
    prunes_by_trigger(),
    verdicts(),
)

OF_A_NODE = (
    counted(
        lines(
            "Freed by prunes",
            "Size of the cache records that prunes removed.",
            "bytes",
            series(
                "sum by (node, builder)"
                " (increase(buildfarm_prune_reclaimed_bytes_total[$__rate_interval]))",
                legend(*_BUILDER),
            ),
            absent=NO_PRUNES,
        )
    ),
    prunes_by_trigger(),
    counted(
        lines(
            "Prunes that did not help",
            "Failed or interrupted; put off because builds ran; or done, and the threshold is "
            "still passed, so something else fills the disk.",
            "short",
            *(
                series(
                    f"sum by (node, builder) (increase({metric}[$__rate_interval]))",
                    f"{says}: {{{{node}}}} / {{{{builder}}}}",
                )
                for says, metric in (
                    ("failed", "buildfarm_prunes_failed_total"),
                    ("put off", "buildfarm_prunes_deferred_total"),
                    ("ineffective", "buildfarm_prunes_ineffective_total"),
                )
            ),
            absent=NO_PRUNES,
        )
    ),
    verdicts().span(12),
    lines(
        "Duration of prunes",
        "How long prunes took until the filesystem stood still. No line: none ended.",
        "s",
        *quantiles("buildfarm_prune_duration_seconds", *_BUILDER),
        absent=NO_PRUNES,
    )
    .interval("15m")
    .min(0)
    .span(12),
)
