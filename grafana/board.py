"""What the dashboards have in common: variables, links, annotations, layout; and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import Dataquery

from grafana.queries import narrowed

Rows = Mapping[str, Sequence[Builder[model.Panel]]]
"""Panels by the title of the row that they are in."""

DATASOURCE = model.DataSourceRef("prometheus", "${datasource}")
TAG = "buildfarm"
_VALUES = {
    "node": "label_values(buildfarm_node_up, node)",
    "builder": 'label_values(buildfarm_builder_info{node=~"$node"}, builder)',
    "platform": 'label_values(buildfarm_builder_platform{node=~"$node"}, platform)',
}


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. Its ``uid`` is part of its address and never changes."""

    uid: str
    title: str
    about: str
    variables: Sequence[str]
    rows: Rows
    since: str
    """The beginning of the time range that it opens with."""

    def json(self) -> str:
        """Render it as the text of a file that Grafana provisions or imports."""
        built = self._build()
        return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"

    def _build(self) -> model.Dashboard:
        board = (
            Dashboard(self.title)
            .uid(self.uid)
            .description(self.about)
            .tags([TAG])
            .timezone("browser")
            .time(self.since, "now")
            .refresh("1m")
            .tooltip(model.DashboardCursorSync.CROSSHAIR)
            .readonly()
            .link(_link())
            .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        )
        for name in self.variables:
            board.with_variable(_variable(name))
        number = 0
        for title, panels in self.rows.items():
            number += 1
            board.with_row(Row(title).id(number))
            for panel in panels:
                number += 1
                own = deepcopy(panel)
                self._finish(own.build(), number)
                board.with_panel(own)
        built = board.build()
        prune = narrowed("buildfarm_prune_last_timestamp_seconds * 1000", self.variables)
        built.annotations = model.AnnotationContainer([_Moments("Prunes", prune)])
        return built

    def _finish(self, panel: model.Panel, number: int) -> None:
        panel.id_val, panel.datasource = number, DATASOURCE
        for ref, target in zip(ascii_uppercase, panel.targets or (), strict=False):
            assert isinstance(target, Dataquery)
            target.expr = narrowed(target.expr, self.variables)
            target.ref_id, target.datasource = ref, DATASOURCE


class _Moments(model.AnnotationQuery):
    """Marks at the times that are a metric's values, in milliseconds. The SDK knows no such."""

    def __init__(self, name: str, expr: str) -> None:
        super().__init__(name, DATASOURCE, icon_color="purple", expr=expr)

    def to_json(self) -> dict[str, object]:
        """Add what Grafana's Prometheus data source reads beside the common keys."""
        return {
            **super().to_json(),
            "useValueForTime": "on",
            "titleFormat": "Prune",
            "textFormat": "{{node}} / {{builder}}",
            "tagKeys": "node,builder",
        }


def _link() -> DashboardLink:
    """Lead from each dashboard to the others."""
    return (
        DashboardLink("Build farm")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )


def _variable(name: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(name.title())
        .datasource(DATASOURCE)
        .query(_VALUES[name])
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(model.VariableOption(text="All", value="$__all"))
    )
