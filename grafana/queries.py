"""PromQL as the dashboards ask it: written without what is selected, which is put in here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

_METRIC = re.compile(r"\b(buildfarm_\w+)(\{)?")
_NOT_OF_A_NODE = (
    "buildfarm_alert",
    "buildfarm_config_",
    "buildfarm_exporter_",
    "buildfarm_multiarch_",
)
_OF_A_BUILDER = ("buildfarm_build", "buildfarm_cache_", "buildfarm_canary_", "buildfarm_prune")
_OF_A_PLATFORM = ("buildfarm_canary_", "buildfarm_builder_platform")


def series(expr: str, legend: str) -> Dataquery:
    """Ask for lines over the time range. ``legend`` has labels as ``{{node}}``."""
    return Dataquery().expr(expr).legend_format(legend).range()


def now(expr: str, legend: str = "") -> Dataquery:
    """Ask for the values at the end of the time range."""
    return Dataquery().expr(expr).legend_format(legend or "__auto").instant()


def rows(expr: str) -> Dataquery:
    """Ask for the same as the rows of a table."""
    return now(expr).format(PromQueryFormat.TABLE)


def legend(*labels: str) -> str:
    """Name a line by labels."""
    return " / ".join(f"{{{{{label}}}}}" for label in labels)


def quantiles(histogram: str, *labels: str, of: Sequence[float] = (0.5, 0.9)) -> list[Dataquery]:
    """Quantiles of a histogram of durations over time."""
    by = ", ".join(("le", *labels))
    rate = f"rate({histogram}_bucket[$__rate_interval])"
    return [
        series(f"histogram_quantile({q}, sum by ({by}) ({rate}))", f"{q:.0%} {legend(*labels)}")
        for q in of
    ]


def narrowed(expr: str, variables: Collection[str]) -> str:
    """Narrow each metric to what is selected in those variables that it has a label for."""

    def select(found: re.Match[str]) -> str:
        metric, brace = found.groups()
        chosen = ",".join(f'{label}=~"${label}"' for label in _labels(metric, variables))
        if not chosen:
            return found[0]
        return f"{metric}{{{chosen}" + ("," if brace else "}")

    return _METRIC.sub(select, expr)


def _labels(metric: str, variables: Collection[str]) -> list[str]:
    having = {
        "node": not metric.startswith(_NOT_OF_A_NODE),
        "builder": metric.startswith(_OF_A_BUILDER),
        "platform": metric.startswith(_OF_A_PLATFORM),
    }
    return [label for label, has in having.items() if has and label in variables]
