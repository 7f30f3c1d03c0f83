"""Panels on the builds of the farm's users."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import timeseries

from grafana.panels import FAILED_SHARE, lines
from grafana.queries import legend, quantiles, series
from grafana.words import NO_BUILDS


def builds_running(*labels: str) -> timeseries.Panel:
    """Builds at the same time."""
    return lines(
        "Builds running",
        "Builds that run at the same time, canaries not counted.",
        "none",
        series(f"sum by ({', '.join(labels)}) (buildfarm_builds_running)", legend(*labels)),
        absent=NO_BUILDS,
    ).min(0)


def builds_per_hour(*labels: str) -> timeseries.Panel:
    """The rate of builds."""
    by = ", ".join(labels)
    return (
        lines(
            "Builds per hour",
            "Rate of the builds that ended, whether they failed or not.",
            "short",
            series(
                f"3600 * sum by ({by}) (rate(buildfarm_builds_total[$__rate_interval]))",
                legend(*labels),
            ),
            absent=NO_BUILDS,
        )
        .interval("5m")
        .min(0)
    )


def failed_share(*labels: str) -> timeseries.Panel:
    """The share of builds that failed."""
    by = ", ".join(labels)
    return (
        lines(
            "Failed builds",
            "Share of the builds that failed or were cancelled. No line: none ended.",
            "percentunit",
            series(
                f"sum by ({by}) (rate(buildfarm_builds_failed_total[$__rate_interval]))"
                f" / (sum by ({by}) (rate(buildfarm_builds_total[$__rate_interval])) > 0)",
                legend(*labels),
            ),
            absent=NO_BUILDS,
            steps=FAILED_SHARE,
        )
        .interval("15m")
        .min(0)
        .max(1)
    )


def cached_share(*labels: str) -> timeseries.Panel:
    """The share of steps that the cache had."""
    by = ", ".join(labels)
    return (
        lines(
            "Steps from the cache",
            "Share of all build steps that were in the cache already. No line: no build ended.",
            "percentunit",
            series(
                f"sum by ({by}) (rate(buildfarm_build_steps_cached_total[$__rate_interval]))"
                f" / (sum by ({by}) (rate(buildfarm_build_steps_total[$__rate_interval])) > 0)",
                legend(*labels),
            ),
            absent=NO_BUILDS,
        )
        .interval("15m")
        .min(0)
        .max(1)
    )


def build_durations(*labels: str, of: Sequence[float] = (0.5, 0.9)) -> timeseries.Panel:
    """How long builds took."""
    return (
        lines(
            "Duration of builds",
            "This share of the builds took no longer. No line: none ended.",
            "s",
            *quantiles("buildfarm_build_duration_seconds", *labels, of=of),
            absent=NO_BUILDS,
        )
        .interval("15m")
        .min(0)
    )
