"""The exporter itself: whether what is shown is fresh, and what it costs."""

from __future__ import annotations

from grafana.panels import ANY_IS_BAD, counted, lines, number
from grafana.queries import now, series
from grafana.words import NO_NODES

_ABSENT = "No exporter is scraped"


def _own(expr: str) -> str:
    """Keep only the exporter's among the series that every process has."""
    return f"{expr} and on (job, instance) buildfarm_exporter_build_info"


PANELS = (
    lines(
        "Age of the data",
        "How long ago each collector last succeeded on the node where that is longest ago. "
        "A collector that climbs beyond its interval fails, or its node is down.",
        "s",
        series(
            "max by (collector) (time() - buildfarm_collector_last_success_timestamp_seconds)",
            "{{collector}}",
        ),
        absent=NO_NODES,
    ).min(0),
    lines(
        "Failing collectors",
        "Nodes on which a collector failed the last time.",
        "none",
        series("sum by (collector) (buildfarm_collector_success == bool 0)", "{{collector}}"),
        absent=NO_NODES,
        steps=ANY_IS_BAD,
    ).min(0),
    lines(
        "Duration of looks",
        "How long the slowest node's last look took, by collector.",
        "s",
        series("max by (collector) (buildfarm_collector_duration_seconds)", "{{collector}}"),
        absent=NO_NODES,
    ).min(0),
    number(
        "Exporters",
        "Exporters that are scraped, by version.",
        "none",
        now("count by (version) (buildfarm_exporter_build_info)", "{{version}}"),
        _ABSENT,
    ).span(4),
    number(
        "Configuration refused",
        "Exporters whose last reload failed: the configuration before it is still in force.",
        "none",
        now("sum(buildfarm_config_last_reload_successful == bool 0)"),
        _ABSENT,
        ANY_IS_BAD,
    ).span(4),
    number(
        "Configuration read",
        "How long ago the configuration in force was read.",
        "s",
        now("time() - max(buildfarm_config_last_reload_success_timestamp_seconds)"),
        _ABSENT,
    ).span(4),
    number(
        "Running for",
        "Since when the exporter that started last is running.",
        "s",
        now(f"time() - max({_own('process_start_time_seconds')})"),
        _ABSENT,
    ).span(4),
    number(
        "Open files",
        "Share of the file descriptors that the exporter may open.",
        "percentunit",
        now(f"max({_own('process_open_fds / process_max_fds')})"),
        _ABSENT,
        {None: "green", 0.7: "orange", 0.9: "red"},
    ).span(4),
    number(
        "Connections made",
        "Connections to nodes that were made in the chosen time range: one a node is usual.",
        "short",
        now("sum(increase(buildfarm_node_connects_total[$__range]))"),
        NO_NODES,
    ).span(4),
    counted(
        lines(
            "Notifications",
            "Alerts that reached each Alertmanager, and those that did not.",
            "short",
            series(
                "sum by (alertmanager)"
                " (increase(buildfarm_alertmanager_notifications_total[$__rate_interval]))",
                "sent: {{alertmanager}}",
            ),
            series(
                "sum by (alertmanager)"
                " (increase(buildfarm_alertmanager_notifications_failed_total[$__rate_interval]))",
                "failed: {{alertmanager}}",
            ),
            absent="No alert is sent: the configuration names no Alertmanager",
        )
    ),
    lines(
        "Processor",
        "Processor time that the exporter uses; 1 is one core.",
        "short",
        series(_own("rate(process_cpu_seconds_total[$__rate_interval])"), "exporter"),
        absent=_ABSENT,
    ).min(0),
    lines(
        "Memory",
        "Resident memory of the exporter.",
        "bytes",
        series(_own("process_resident_memory_bytes"), "exporter"),
        absent=_ABSENT,
    ).min(0),
)
