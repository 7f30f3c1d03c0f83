"""Panels on nodes and their disks: whether they answer, and how long they last."""

from __future__ import annotations

from grafana_foundation_sdk.builders import statetimeline, timeseries

from grafana.panels import FAILING, FREE, TIME_LEFT, lines, states
from grafana.queries import legend, series
from grafana.words import FREE_SHARE, INODES_FREE_SHARE, NO_NODES


def failures() -> statetimeline.Panel:
    """Why nodes were down."""
    return states(
        "Failures",
        "Which layer of a node did not answer, and why. A row is there only for what failed "
        "in the chosen time range.",
        series(
            "max by (node, layer, reason) (buildfarm_node_failure)",
            "{{node}}: {{layer}}: {{reason}}",
        ),
        FAILING,
        "No failures",
    )


def disk_free(*labels: str) -> timeseries.Panel:
    """The share of disks that is free."""
    return lines(
        "Disk free",
        "Free share of the filesystem that holds the builders' data. The lines are where the "
        "example configuration prunes, and where it does so without waiting for builds.",
        "percentunit",
        series(FREE_SHARE, legend(*labels)),
        absent=NO_NODES,
        steps=FREE,
    ).min(0)


def inodes_free(*labels: str) -> timeseries.Panel:
    """The share of inodes that is free."""
    return lines(
        "Inodes free",
        "Free share of that filesystem's inodes. Caches of many small files use them up long "
        "before the bytes, and BuildKit itself never looks at them.",
        "percentunit",
        series(INODES_FREE_SHARE, legend(*labels)),
        absent=NO_NODES,
        steps=FREE,
    ).min(0)


def full_in() -> timeseries.Panel:
    """How long disks will last."""
    return lines(
        "Time until full",
        "How long each disk lasts if it goes on filling as it does. No line: it does not fill.",
        "s",
        series("buildfarm_disk_full_timestamp_seconds - time()", "{{node}}"),
        absent="No disk fills",
        steps=TIME_LEFT,
    ).min(0)
