"""Panels as these dashboards draw them. Each says what it shows, in what unit, and what it means
when there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.bargauge import Panel as Gauges
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)

Steps = Mapping[float | None, str]
"""Colours by the value from which they hold; ``None``: from the lowest on."""

PLAIN: Steps = {None: "blue"}
ANY_IS_BAD: Steps = {None: "green", 1: "red"}
ANY_IS_NOTED: Steps = {None: "green", 1: "orange"}
FREE: Steps = {None: "red", 0.05: "orange", 0.15: "green"}
"""Of a disk or its inodes: where the example configuration prunes, and where it does not wait."""
TIME_LEFT: Steps = {None: "red", 6 * 3600: "orange", 24 * 3600: "green"}
DAYS_LEFT: Steps = {None: "red", 7: "orange", 30: "green"}
FAILED_SHARE: Steps = {None: "green", 0.1: "orange", 0.5: "red"}
OF_LIMIT: Steps = {None: "green", 0.8: "orange", 1: "red"}

Meanings = Mapping[str, tuple[str, str]]
"""Text and colour by value."""

UP: Meanings = {"0": ("down", "red"), "1": ("up", "green")}
WELL: Meanings = {"0": ("fails", "red"), "1": ("well", "green")}
FAILING: Meanings = {"1": ("failing", "red")}
DUE: Meanings = {"1": ("due", "orange")}
PASSED: Meanings = {"0": ("failed", "red"), "1": ("passed", "green")}


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Turn steps into Grafana's thresholds."""
    found = [Threshold(value, color) for value, color in steps.items()]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def mappings(meanings: Meanings) -> list[ValueMapping]:
    """Turn meanings into Grafana's value mappings."""
    results = {
        value: ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(meanings.items())
    }
    return [ValueMap(results)]


def number(
    title: str, about: str, unit: str, query: Dataquery, absent: str, steps: Steps = PLAIN
) -> stat.Panel:
    """One number, now."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .no_value(absent)
        .with_target(query)
        .thresholds(thresholds(steps))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .height(4)
        .span(3)
    )


def lines(
    title: str, about: str, unit: str, *queries: Dataquery, absent: str, steps: Steps | None = None
) -> timeseries.Panel:
    """Lines over time. With ``steps``, their borders are drawn too."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .no_value(absent)
        .targets(list(queries))
        .color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .fill_opacity(10)
        .line_width(1)
        .show_points(VisibilityMode.AUTO)
        .tooltip(
            build.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .legend(
            build.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .height(8)
        .span(8)
    )
    if steps is None:
        return panel
    style = build.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(thresholds(steps)).thresholds_style(style)


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Put the areas on top of each other."""
    return panel.fill_opacity(40).stacking(build.StackingConfig().mode(StackingMode.NORMAL))


def counted(panel: timeseries.Panel) -> timeseries.Panel:
    """Draw what happened in each interval as bars. Rare events need a long interval."""
    bars = stacked(panel).draw_style(GraphDrawStyle.BARS).fill_opacity(80).interval("5m")
    return bars.min(0)


def states(
    title: str, about: str, query: Dataquery, meanings: Meanings, absent: str
) -> statetimeline.Panel:
    """How something stood over time, a row for each."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .unit("none")
        .no_value(absent)
        .with_target(query)
        .mappings(mappings(meanings))
        .thresholds(thresholds({None: "text"}))
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .legend(build.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM))
        .height(8)
        .span(8)
    )


def gauges(
    title: str, about: str, unit: str, query: Dataquery, absent: str, steps: Steps = PLAIN
) -> Gauges:
    """Bars that compare how something stands now, one for each."""
    return (
        Gauges()
        .title(title)
        .description(about)
        .unit(unit)
        .no_value(absent)
        .with_target(query)
        .min(0)
        .thresholds(thresholds(steps))
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .height(8)
        .span(8)
    )
