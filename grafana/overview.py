"""The farm in single numbers."""

from __future__ import annotations

from grafana.panels import (
    ANY_IS_BAD,
    ANY_IS_NOTED,
    DAYS_LEFT,
    FAILED_SHARE,
    FREE,
    TIME_LEFT,
    number,
)
from grafana.queries import now
from grafana.words import FREE_SHARE, NO_BUILDS, NO_CANARIES, NO_CERTIFICATES, NO_NODES, NO_PRUNES

NUMBERS = (
    number(
        "Alerts firing",
        "Alerts of the whole farm that fire, whichever nodes are selected.",
        "none",
        now('sum(buildfarm_alerts{state="firing"})'),
        "Not evaluated",
        ANY_IS_BAD,
    ),
    number(
        "Nodes",
        "Nodes in the exporter's configuration, of those that are selected.",
        "none",
        now("count(buildfarm_node_up)"),
        NO_NODES,
    ),
    number(
        "Nodes down",
        "Nodes whose transport, engine or a selected builder does not answer. "
        "The table below says why.",
        "none",
        now("sum(buildfarm_node_up == bool 0)"),
        NO_NODES,
        ANY_IS_BAD,
    ),
    number(
        "Builds running",
        "Builds that run on all builders at this moment, canaries not counted.",
        "none",
        now("sum(buildfarm_builds_running)"),
        NO_BUILDS,
    ),
    number(
        "Least disk free",
        "The fullest disk's free share. Yellow: time to prune; red: builds are about to fail.",
        "percentunit",
        now(f"min({FREE_SHARE})"),
        NO_NODES,
        FREE,
    ),
    number(
        "Next disk full in",
        "When the first disk will be full if it goes on filling as it does now.",
        "s",
        now("min(buildfarm_disk_full_timestamp_seconds) - time()"),
        "No disk fills",
        TIME_LEFT,
    ),
    number(
        "Prunes due",
        "Builders for which a threshold is passed. The verdict, further down, says what is done.",
        "none",
        now("count(buildfarm_prune_due) or 0 * count(buildfarm_node_up)"),
        NO_NODES,
        ANY_IS_NOTED,
    ),
    number(
        "Canaries failed",
        "Platforms of a builder whose last canary build did not succeed.",
        "none",
        now("sum(buildfarm_canary_success == bool 0)"),
        NO_CANARIES,
        ANY_IS_BAD,
    ),
    number(
        "Collectors failing",
        "Looks at a node that failed the last time; what is shown of it is then older.",
        "none",
        now("sum(buildfarm_collector_success == bool 0)"),
        NO_NODES,
        ANY_IS_BAD,
    ),
    number(
        "Cache",
        "Size of the caches of all builders, records that images share with them included.",
        "bytes",
        now("sum(buildfarm_cache_size_bytes)"),
        NO_NODES,
    ),
    number(
        "Freed by prunes",
        "What prunes removed in the chosen time range.",
        "bytes",
        now("sum(increase(buildfarm_prune_reclaimed_bytes_total[$__range]))"),
        NO_PRUNES,
    ),
    number(
        "Builds",
        "Builds that ended in the chosen time range.",
        "short",
        now("sum(increase(buildfarm_builds_total[$__range]))"),
        NO_BUILDS,
    ),
    number(
        "Failed builds",
        "Share of the builds in the chosen time range that failed or were cancelled.",
        "percentunit",
        now(
            "sum(increase(buildfarm_builds_failed_total[$__range]))"
            " / (sum(increase(buildfarm_builds_total[$__range])) > 0)"
        ),
        NO_BUILDS,
        FAILED_SHARE,
    ),
    number(
        "Steps from the cache",
        "Share of all build steps in the chosen time range that were in the cache already.",
        "percentunit",
        now(
            "sum(increase(buildfarm_build_steps_cached_total[$__range]))"
            " / (sum(increase(buildfarm_build_steps_total[$__range])) > 0)"
        ),
        NO_BUILDS,
    ),
    number(
        "Certificate ends in",
        "Days until the first TLS certificate of a node or of this exporter ends.",
        "d",
        now("(min(buildfarm_tls_certificate_not_after_timestamp_seconds) - time()) / 86400"),
        NO_CERTIFICATES,
        DAYS_LEFT,
    ),
    number(
        "Platforms missing",
        "Platforms that a node is expected to build natively and does not.",
        "none",
        now("sum(buildfarm_platform_missing)"),
        "No node has expected platforms",
        ANY_IS_BAD,
    ),
)
