"""One node in depth, or a few side by side."""

from __future__ import annotations

from grafana import builds, caches, canaries, nodes, prunes
from grafana.board import Board
from grafana.panels import (
    DAYS_LEFT,
    FREE,
    PLAIN,
    TIME_LEFT,
    UP,
    WELL,
    counted,
    lines,
    mappings,
    number,
    stacked,
    states,
)
from grafana.queries import legend, now, series
from grafana.tables import Column, table
from grafana.words import FREE_SHARE, NO_BUILDS, NO_CERTIFICATES, NO_NODES

_BUILDER = ("node", "builder")
_AGE = "time() - buildfarm_collector_last_success_timestamp_seconds"

STATE = (
    number(
        "State",
        "Whether transport, engine and every selected builder answer.",
        "none",
        now("min by (node) (buildfarm_node_up)", "{{node}}"),
        NO_NODES,
    )
    .mappings(mappings(UP))
    .span(4),
    number(
        "Disk free",
        "Free share of the filesystem that holds the builders' data.",
        "percentunit",
        now(FREE_SHARE, "{{node}}"),
        NO_NODES,
        FREE,
    ).span(4),
    number(
        "Disk full in",
        "How long the disk lasts if it goes on filling as it does now.",
        "s",
        now("buildfarm_disk_full_timestamp_seconds - time()", "{{node}}"),
        "It does not fill",
        TIME_LEFT,
    ).span(4),
    number(
        "Builds running",
        "Builds that run on the selected builders, canaries not counted.",
        "none",
        now("sum by (node) (buildfarm_builds_running)", "{{node}}"),
        NO_BUILDS,
    ).span(4),
    number(
        "Last prune",
        "How long ago the last prune of one of the builders ended.",
        "s",
        now("time() - max by (node) (buildfarm_prune_last_timestamp_seconds)", "{{node}}"),
        "None yet",
        PLAIN,
    ).span(4),
    number(
        "Certificates end in",
        "Days until the TLS certificates end: the node's, and the exporter's own.",
        "d",
        now(
            "(buildfarm_tls_certificate_not_after_timestamp_seconds - time()) / 86400",
            legend("node", "side"),
        ),
        NO_CERTIFICATES,
        DAYS_LEFT,
    ).span(4),
    states(
        "Layers",
        "Each layer of the way to the builders: the transport, then the engine, then BuildKit.",
        series("buildfarm_node_layer_up", legend("node", "layer")),
        UP,
        NO_NODES,
    ),
    nodes.failures(),
    lines(
        "Round trip",
        "Time from a ping to the node's answer.",
        "s",
        series("buildfarm_node_round_trip_seconds", "{{node}}"),
        absent=NO_NODES,
    ).min(0),
    table(
        "Builders",
        "What the builders are. Selected ones are pruned and timed by canaries; all are measured.",
        {"node": "Node", "builder": "Builder"},
        (
            Column(
                "Driver",
                "max by (node, builder, driver) (buildfarm_builder_info)",
                label="driver",
            ),
            Column(
                "BuildKit",
                "max by (node, builder, buildkit_version) (buildfarm_builder_info)",
                label="buildkit_version",
            ),
            Column(
                "Selected",
                "max by (node, builder, selected) (buildfarm_builder_info)",
                label="selected",
            ),
            Column(
                "Native platforms",
                'count by (node, builder) (buildfarm_builder_platform{emulated="false"})',
            ),
            Column(
                "Emulated platforms",
                'count by (node, builder) (buildfarm_builder_platform{emulated="true"})',
            ),
            Column("Cache", "sum by (node, builder) (buildfarm_cache_size_bytes)", "bytes"),
            Column(
                "BuildKit's limit",
                "max by (node, builder) (buildfarm_builder_gc_keep_bytes)",
                "bytes",
            ),
        ),
        NO_NODES,
    ).height(6),
)

DISK = (
    lines(
        "Disk",
        "Bytes free to unprivileged users, and the size of the filesystem.",
        "bytes",
        series("buildfarm_disk_available_bytes", "free on {{node}} {{path}}"),
        series("buildfarm_disk_size_bytes", "size of {{node}} {{path}}"),
        absent=NO_NODES,
    )
    .min(0)
    .span(12),
    nodes.disk_free("node", "path").span(12),
    nodes.full_in().span(12),
    nodes.inodes_free("node", "path").span(12),
)

BUILDS = (
    stacked(builds.builds_running(*_BUILDER)),
    stacked(builds.builds_per_hour(*_BUILDER)),
    builds.failed_share(*_BUILDER),
    builds.cached_share(*_BUILDER).span(12),
    builds.build_durations(*_BUILDER).span(12),
)

COLLECTORS = (
    states(
        "Collectors",
        "Whether each collector's last look at the node succeeded wholly.",
        series("buildfarm_collector_success", legend("node", "collector")),
        WELL,
        NO_NODES,
    ).height(9),
    lines(
        "Age of the data",
        "How long ago each collector last succeeded wholly.",
        "s",
        series(_AGE, legend("node", "collector")),
        absent=NO_NODES,
    )
    .min(0)
    .height(9),
    lines(
        "Duration of looks",
        "How long the last look of each collector took.",
        "s",
        series("buildfarm_collector_duration_seconds", legend("node", "collector")),
        absent=NO_NODES,
    )
    .min(0)
    .height(9),
    counted(
        lines(
            "Timeouts",
            "Looks that failed because no answer came in time.",
            "short",
            series(
                "sum by (node, collector)"
                " (increase(buildfarm_collector_timeouts_total[$__rate_interval]))",
                legend("node", "collector"),
            ),
            absent=NO_NODES,
        )
    ).span(12),
    counted(
        lines(
            "Connections",
            "Connections that were made to the node. One is made and kept, so bars are outages.",
            "short",
            series(
                "sum by (node) (increase(buildfarm_node_connects_total[$__rate_interval]))",
                "{{node}}",
            ),
            absent=NO_NODES,
        )
    ).span(12),
)

NODE = Board(
    uid="buildfarm-node",
    title="Build farm: node",
    about="A node of the build farm in depth: its state, disk, caches, prunes and builds.",
    variables=("node", "builder"),
    rows={
        "State": STATE,
        "Disk": DISK,
        "Cache": caches.OF_A_NODE,
        "Prunes": prunes.OF_A_NODE,
        "Builds": BUILDS,
        "Canaries": canaries.OF_A_NODE,
        "Collectors": COLLECTORS,
    },
    since="now-6h",
)
