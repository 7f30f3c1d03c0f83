"""Tables: one query a column, joined by the labels that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models.common import (
    TableCellBackgroundDisplayMode,
    TableColoredBackgroundCellOptions,
    TableColorTextCellOptions,
)
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
)

from grafana.panels import Meanings, Steps, mappings, thresholds
from grafana.queries import rows


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how it is asked for."""

    title: str
    expr: str
    unit: str = "none"
    steps: Steps | None = None
    meanings: Meanings | None = None
    label: str | None = None
    """Show this label of the series in place of the value."""


def table(
    title: str,
    about: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    absent: str,
    links: Mapping[str, tuple[str, str]] | None = None,
) -> tables.Panel:
    """Make a table. ``keys``: the titles of the labels that make a row.

    ``links``: by a column's title, what a click on its cells does, and the URL it leads to.
    """
    panel = tables.Panel().title(title).description(about).unit("none").no_value(absent)
    titles, hidden = dict(keys), {"Time": True}
    for ref, column in zip(ascii_uppercase, columns, strict=False):
        value = f"Value #{ref}" if len(columns) > 1 else "Value"
        if column.label is None:
            titles[value] = column.title
        else:
            titles[column.label] = column.title
            hidden[value] = True
        panel.with_target(rows(column.expr).ref_id(ref))
        panel.override_by_name(column.title, _looks(column))
    for name, (says, url) in (links or {}).items():
        link = {"title": says, "url": url, "targetBlank": False}
        panel.override_by_name(name, [DynamicConfigValue("links", [link])])
    order = {name: place for place, name in enumerate(titles)}
    organized = {"excludeByName": hidden, "renameByName": titles, "indexByName": order}
    return (
        panel.with_transformation(DataTransformerConfig("merge", options={}))
        .with_transformation(DataTransformerConfig("organize", options=organized))
        .filterable(True)
        .height(9)
        .span(24)
    )


def _looks(column: Column) -> list[DynamicConfigValue]:
    looks = [DynamicConfigValue("unit", column.unit)]
    if column.meanings is not None:
        background = TableColoredBackgroundCellOptions(mode=TableCellBackgroundDisplayMode.BASIC)
        looks += [
            DynamicConfigValue("mappings", mappings(column.meanings)),
            DynamicConfigValue("custom.cellOptions", background),
        ]
    if column.steps is not None:
        by_threshold = FieldColor(mode=FieldColorModeId.THRESHOLDS)
        looks += [
            DynamicConfigValue("thresholds", thresholds(column.steps).build()),
            DynamicConfigValue("color", by_threshold),
            DynamicConfigValue("custom.cellOptions", TableColorTextCellOptions()),
        ]
    return looks
