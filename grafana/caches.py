"""Panels on caches: how large they are, and what of them is still used."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.panels import OF_LIMIT, lines, stacked
from grafana.queries import legend, series
from grafana.words import NO_NODES

_LIMIT = "limit of"
_BUILDER = ("node", "builder")
_OF_GC_LIMIT = (
    "sum by (node, builder) (buildfarm_cache_size_bytes)"
    " / on (node, builder) buildfarm_builder_gc_keep_bytes"
)

OF_THE_FARM = (
    stacked(
        lines(
            "Cache by node",
            "Size of all caches of a node, on top of each other.",
            "bytes",
            series("sum by (node) (buildfarm_cache_size_bytes)", "{{node}}"),
            absent=NO_NODES,
        ).min(0)
    ),
    lines(
        "Cache against BuildKit's own limit",
        "Size of each cache as a share of the most that BuildKit's own garbage collection allows. "
        "Above 100 % BuildKit removes records by itself after a build.",
        "percentunit",
        series(_OF_GC_LIMIT, "{{node}} / {{builder}}"),
        absent="No builder has a limit of its own",
        steps=OF_LIMIT,
    ).min(0),
    lines(
        "Not used for a week",
        "Size of the records that no build used for seven days: what a prune would take first.",
        "bytes",
        series('sum by (node) (buildfarm_cache_idle_bytes{older_than="7d"})', "{{node}}"),
        absent=NO_NODES,
    ).min(0),
)

OF_A_NODE = (
    stacked(
        lines(
            "Cache by builder, against its limit",
            "Size of each builder's cache, on top of each other. Dashed: the most that BuildKit's "
            "own garbage collection allows each builder.",
            "bytes",
            series(f"sum by ({', '.join(_BUILDER)}) (buildfarm_cache_size_bytes)", "{{builder}}"),
            series("buildfarm_builder_gc_keep_bytes", f"{_LIMIT} {{{{builder}}}}"),
            absent=NO_NODES,
        ).override_by_regexp(
            f"^{_LIMIT} .*",
            [
                DynamicConfigValue("custom.stacking", {"mode": "none"}),
                DynamicConfigValue("custom.fillOpacity", 0),
                DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
            ],
        )
    ).min(0),
    stacked(
        lines(
            "Cache by record type",
            "What the caches hold: results of steps, cache mounts, sources, frontends.",
            "bytes",
            series("sum by (record_type) (buildfarm_cache_size_bytes)", "{{record_type}}"),
            absent=NO_NODES,
        )
    ).min(0),
    lines(
        "Reclaimable, in use, shared",
        "Reclaimable is not in use at the moment. Shared with images: it stays as long as they do.",
        "bytes",
        series("buildfarm_cache_reclaimable_bytes", "reclaimable: {{node}} / {{builder}}"),
        series("buildfarm_cache_in_use_bytes", "in use: {{node}} / {{builder}}"),
        series("buildfarm_cache_shared_bytes", "shared: {{node}} / {{builder}}"),
        absent=NO_NODES,
    ).min(0),
    lines(
        "Not used for longer than",
        "Size of the records that no build used for so long: what a prune would take first.",
        "bytes",
        series("buildfarm_cache_idle_bytes", "{{older_than}}: {{node}} / {{builder}}"),
        absent=NO_NODES,
    ).min(0),
    lines(
        "Cache records",
        "Number of records in the caches. A look at a cache takes longer the more there are.",
        "short",
        series("sum by (node, builder) (buildfarm_cache_records)", legend(*_BUILDER)),
        absent=NO_NODES,
    ).min(0),
    lines(
        "Orphaned state volumes",
        "Bytes in state volumes of buildx builders that no container uses any more: no builder "
        "lists them and no prune frees them.",
        "bytes",
        series("buildfarm_orphaned_state_volumes_bytes", "{{node}}"),
        absent="Not measured",
    ).min(0),
)
