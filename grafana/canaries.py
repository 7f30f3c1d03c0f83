"""Panels on canary builds: how fast each node builds the same."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from grafana.panels import ANY_IS_BAD, PASSED, counted, gauges, lines, number, states
from grafana.queries import legend, now, series
from grafana.tables import Column, table
from grafana.words import NO_CANARIES

_PLACE = "node, builder, platform, emulated"
_NAME = legend("node", "builder", "platform")
_NATIVE = 'buildfarm_canary_step_duration_seconds{step="cpu",emulated="false"}'
_EMULATED = 'buildfarm_canary_step_duration_seconds{step="cpu",emulated="true"}'
_NO_MULTIARCH = "No canary over the whole farm: the configuration has no canary.multiarch section"


def _by_place(metric: str) -> str:
    return f"max by ({_PLACE}) ({metric})"


def _step(metric: str, step: str) -> str:
    return _by_place(f'buildfarm_canary_{metric}{{step="{step}"}}')


def _duration(step: str, title: str, about: str) -> timeseries.Panel:
    return lines(
        title,
        about,
        "s",
        series(_step("step_duration_seconds", step), _NAME),
        absent=NO_CANARIES,
    ).min(0)


LATEST = (
    table(
        "Latest canary builds",
        "The last canary build of each platform on each builder. An empty step was not got to, "
        "or its result was there already.",
        {"node": "Node", "builder": "Builder", "platform": "Platform", "emulated": "Emulated"},
        (
            Column("Result", f"min by ({_PLACE}) (buildfarm_canary_success)", meanings=PASSED),
            Column("Duration", _by_place("buildfarm_canary_duration_seconds"), "s"),
            Column("Pull", _step("step_duration_seconds", "pull"), "s"),
            Column("Hashing", _step("step_duration_seconds", "cpu"), "s"),
            Column("Hashed", _step("throughput_bytes_per_second", "cpu"), "Bps"),
            Column("Writing", _step("step_duration_seconds", "disk"), "s"),
            Column("Written", _step("throughput_bytes_per_second", "disk"), "Bps"),
            Column("Export", _step("step_duration_seconds", "export"), "s"),
            Column(
                "Ended ago",
                f"time() - {_by_place('buildfarm_canary_last_run_timestamp_seconds')}",
                "s",
            ),
        ),
        NO_CANARIES,
    ),
    states(
        "Canaries passed",
        "Whether the last canary build of each platform on each builder succeeded.",
        series(f"min by ({_PLACE}) (buildfarm_canary_success)", _NAME),
        PASSED,
        NO_CANARIES,
    ).span(12),
    counted(
        lines(
            "Canary builds",
            "Canary builds that ran, of these the failed ones, and those left out because builds "
            "ran or the disk was low.",
            "short",
            *(
                series(f"sum(increase({metric}[$__rate_interval]))", says)
                for says, metric in (
                    ("ran", "buildfarm_canary_runs_total"),
                    ("failed", "buildfarm_canary_runs_failed_total"),
                    ("left out", "buildfarm_canary_skipped_total"),
                )
            ),
            absent=NO_CANARIES,
        )
    ).span(12),
)

COMPARED = (
    gauges(
        "Hashing",
        "Bytes that each builder hashed a second: the processor, compared.",
        "Bps",
        now(_step("throughput_bytes_per_second", "cpu"), _NAME),
        NO_CANARIES,
    ).span(12),
    gauges(
        "Writing",
        "Bytes that each builder wrote and synced a second: the disk, compared.",
        "Bps",
        now(_step("throughput_bytes_per_second", "disk"), _NAME),
        NO_CANARIES,
    ).span(12),
    lines(
        "Native and emulated",
        "Mean duration of the hashing step by platform, on nodes that run it themselves and on "
        "those that emulate it.",
        "s",
        series(
            f"avg by (platform) ({_NATIVE})",
            "{{platform}} native",
        ),
        series(
            f"avg by (platform) ({_EMULATED})",
            "{{platform}} emulated",
        ),
        absent=NO_CANARIES,
    )
    .min(0)
    .span(12),
    lines(
        "Cost of emulation",
        "How many times as long hashing takes emulated, on average, as it takes native.",
        "short",
        series(
            f"avg({_EMULATED}) / avg({_NATIVE})",
            "emulated / native",
        ),
        absent="No canary builds of emulated platforms",
    )
    .min(0)
    .span(12),
)

STEPS = (
    lines(
        "Duration",
        "How long the whole canary build took.",
        "s",
        series(_by_place("buildfarm_canary_duration_seconds"), _NAME),
        absent=NO_CANARIES,
    )
    .min(0)
    .span(24),
    _duration("pull", "Pull", "Getting the base image: the network and the registry.").span(12),
    _duration("export", "Export", "Making an image of the result.").span(12),
    _duration("cpu", "Hashing", "Hashing: the processor, or its emulation.").span(12),
    _duration("disk", "Writing", "Writing a file, and syncing it: the disk.").span(12),
)

MULTIARCH = (
    number(
        "Whole farm failed",
        "Buildx builders whose last canary build over the whole farm did not succeed.",
        "none",
        now("sum(buildfarm_multiarch_canary_success == bool 0)"),
        _NO_MULTIARCH,
        ANY_IS_BAD,
    ).span(4),
    number(
        "Platforms pushed",
        "Platforms in the image index that the last one pushed.",
        "none",
        now("buildfarm_multiarch_canary_platforms", "{{builder}}"),
        _NO_MULTIARCH,
    ).span(4),
    number(
        "Ended ago",
        "How long ago the last one ended.",
        "s",
        now("time() - buildfarm_multiarch_canary_last_run_timestamp_seconds", "{{builder}}"),
        _NO_MULTIARCH,
    ).span(4),
    number(
        "From the shared cache",
        "Share of the steps of its second run that the shared cache had.",
        "percentunit",
        now(
            "buildfarm_multiarch_canary_cached_steps / (buildfarm_multiarch_canary_steps > 0)",
            "{{builder}}",
        ),
        "No second run: no cache is configured, or it was not got to",
    ).span(4),
    number(
        "Runs",
        "Canary builds over the whole farm in the chosen time range.",
        "short",
        now("sum(increase(buildfarm_multiarch_canary_runs_total[$__range]))"),
        _NO_MULTIARCH,
    ).span(4),
    number(
        "Failed runs",
        "Of these, the ones that did not succeed.",
        "short",
        now("sum(increase(buildfarm_multiarch_canary_runs_failed_total[$__range]))"),
        _NO_MULTIARCH,
        ANY_IS_BAD,
    ).span(4),
    lines(
        "Duration over the whole farm",
        "How long the build took, to its checks at the registry.",
        "s",
        series("buildfarm_multiarch_canary_duration_seconds", "{{builder}}"),
        absent=_NO_MULTIARCH,
    )
    .min(0)
    .span(24),
)

OF_A_NODE = (
    states(
        "Canaries passed",
        "Whether the last canary build of each platform succeeded.",
        series(f"min by ({_PLACE}) (buildfarm_canary_success)", _NAME),
        PASSED,
        NO_CANARIES,
    ),
    lines(
        "Steps of canaries",
        "How long each step of a canary build took.",
        "s",
        series(
            "max by (node, builder, platform, step) (buildfarm_canary_step_duration_seconds)",
            legend("step", "node", "builder", "platform"),
        ),
        absent=NO_CANARIES,
    ).min(0),
    lines(
        "Throughput of canaries",
        "How fast a canary build hashed and wrote.",
        "Bps",
        series(
            "max by (node, builder, platform, step) (buildfarm_canary_throughput_bytes_per_second)",
            legend("step", "node", "builder", "platform"),
        ),
        absent=NO_CANARIES,
    ).min(0),
)
