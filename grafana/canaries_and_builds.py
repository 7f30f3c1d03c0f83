"""How fast the farm builds: what canary builds measure, and what users' builds do."""

from __future__ import annotations

from grafana import builds, canaries
from grafana.board import Board
from grafana.panels import FAILED_SHARE, stacked
from grafana.tables import Column, table
from grafana.words import NO_BUILDS

_ENDED = "sum by (node, builder) (increase(buildfarm_builds_total[$__range]))"
_FAILED = "sum by (node, builder) (increase(buildfarm_builds_failed_total[$__range]))"
_STEPS = "sum by (node, builder) (increase(buildfarm_build_steps_total[$__range]))"
_CACHED = "sum by (node, builder) (increase(buildfarm_build_steps_cached_total[$__range]))"
_SECONDS = "sum by (node, builder) (increase(buildfarm_build_duration_seconds_sum[$__range]))"

BUILDS = (
    table(
        "Builds by builder",
        "Builds that ended in the chosen time range, canaries not counted.",
        {"node": "Node", "builder": "Builder"},
        (
            Column("Running", "sum by (node, builder) (buildfarm_builds_running)"),
            Column("Ended", _ENDED, "short"),
            Column("Failed", f"{_FAILED} / ({_ENDED} > 0)", "percentunit", FAILED_SHARE),
            Column("Mean duration", f"{_SECONDS} / ({_ENDED} > 0)", "s"),
            Column("Steps", _STEPS, "short"),
            Column("From the cache", f"{_CACHED} / ({_STEPS} > 0)", "percentunit"),
        ),
        NO_BUILDS,
    ),
    stacked(builds.builds_running("node", "builder")),
    stacked(builds.builds_per_hour("node", "builder")),
    builds.failed_share("node", "builder"),
    builds.cached_share("node", "builder").span(12),
    builds.build_durations(of=(0.5, 0.9, 0.99)).title("Duration of all builds").span(12),
    builds.build_durations("node", "builder", of=(0.5,)).title("Median duration").span(12),
    builds.build_durations("node", "builder", of=(0.9,)).title("Slow builds").span(12),
)

BUILDS_AND_CANARIES = Board(
    uid="buildfarm-builds",
    title="Build farm: canaries and builds",
    about="How fast the build farm builds: canary builds that time every node on the same work, "
    "and the builds of its users.",
    variables=("node", "builder", "platform"),
    rows={
        "Canaries": canaries.LATEST,
        "Nodes compared": canaries.COMPARED,
        "Steps of canaries": canaries.STEPS,
        "Canary over the whole farm": canaries.MULTIARCH,
        "Builds": BUILDS,
    },
    since="now-2d",
)
