"""The farm: all nodes at a glance."""

from __future__ import annotations

from grafana import builds, caches, nodes, overview, own, prunes
from grafana.board import Board
from grafana.panels import (
    ANY_IS_BAD,
    DAYS_LEFT,
    FAILING,
    FREE,
    TIME_LEFT,
    UP,
    stacked,
    states,
)
from grafana.queries import series
from grafana.tables import Column, table
from grafana.words import FREE_SHARE, INODES_FREE_SHARE, NO_NODES

_NODE = "var-node=${__data.fields.Node}&var-datasource=${datasource}&${__url_time_range}"

NODES = (
    table(
        "Nodes",
        "Every node, with what an operator needs first. Click on a name to see that node.",
        {"node": "Node"},
        (
            Column("State", "min by (node) (buildfarm_node_up)", meanings=UP),
            Column(
                "Failure",
                'max by (node, failure) (label_join(buildfarm_node_failure, "failure", ": ",'
                ' "layer", "reason"))',
                label="failure",
            ),
            Column("Builds", "sum by (node) (buildfarm_builds_running)"),
            Column("Disk free", f"min by (node) ({FREE_SHARE})", "percentunit", FREE),
            Column("Inodes free", f"min by (node) ({INODES_FREE_SHARE})", "percentunit", FREE),
            Column(
                "Full in",
                "min by (node) (buildfarm_disk_full_timestamp_seconds) - time()",
                "s",
                TIME_LEFT,
            ),
            Column("Cache", "sum by (node) (buildfarm_cache_size_bytes)", "bytes"),
            Column("Reclaimable", "sum by (node) (buildfarm_cache_reclaimable_bytes)", "bytes"),
            Column(
                "Prune",
                "max by (node, verdict) (topk by (node) (1, buildfarm_prune_due))",
                label="verdict",
            ),
            Column(
                "Oldest data",
                "time() - min by (node) (buildfarm_collector_last_success_timestamp_seconds)",
                "s",
            ),
            Column(
                "Certificate",
                "(min by (node) (buildfarm_tls_certificate_not_after_timestamp_seconds) - time())"
                " / 86400",
                "d",
                DAYS_LEFT,
            ),
            Column("Round trip", "max by (node) (buildfarm_node_round_trip_seconds)", "s"),
            Column(
                "Engine",
                "max by (node, engine_version) (buildfarm_node_info)",
                label="engine_version",
            ),
        ),
        NO_NODES,
        links={"Node": ("Show this node", f"/d/buildfarm-node?{_NODE}")},
    ),
)

REACHABILITY = (
    states(
        "Nodes up",
        "Whether transport, engine and every selected builder of a node answered.",
        series("min by (node) (buildfarm_node_up)", "{{node}}"),
        UP,
        NO_NODES,
    ).span(12),
    nodes.failures().span(12),
)

ALERTS = (
    states(
        "Alerts",
        "Alerts of the whole farm, whichever nodes are selected, while they fire.",
        series(
            'max by (alertname) (buildfarm_alerts{state="firing"} > 0) > bool 0', "{{alertname}}"
        ),
        FAILING,
        "No alert fires",
    ).span(12),
    table(
        "Platforms",
        "On how many builders each platform is built, and on how many nodes it is expected to be "
        "native and is not. A build on an emulated platform is many times as slow.",
        {"platform": "Platform"},
        (
            Column(
                "Native",
                'count by (platform) (buildfarm_builder_platform{emulated="false"})',
            ),
            Column(
                "Emulated",
                'count by (platform) (buildfarm_builder_platform{emulated="true"})',
            ),
            Column("Missing", "sum by (platform) (buildfarm_platform_missing)", steps=ANY_IS_BAD),
        ),
        NO_NODES,
    )
    .height(8)
    .span(12),
)

DISK = (
    nodes.disk_free("node"),
    nodes.full_in(),
    nodes.inodes_free("node"),
)

BUILDS = (
    stacked(builds.builds_running("node")),
    stacked(builds.builds_per_hour("node")),
    builds.failed_share("node"),
)

FARM = Board(
    uid="buildfarm-farm",
    title="Build farm",
    about="All nodes of the build farm at a glance: what is up, what fills, what is being built.",
    variables=("node",),
    rows={
        "Now": overview.NUMBERS,
        "Nodes": NODES,
        "Reachability": REACHABILITY,
        "Alerts and platforms": ALERTS,
        "Disk": DISK,
        "Cache": caches.OF_THE_FARM,
        "Prunes": prunes.OF_THE_FARM,
        "Builds": BUILDS,
        "Exporter": own.PANELS,
    },
    since="now-6h",
)
