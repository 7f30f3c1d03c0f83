"""The dashboards' files, read as Grafana reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))

Json = dict[str, Any]

_VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True, slots=True)
class Query:
    """What a panel, or the dashboard's annotations, ask of Prometheus."""

    dashboard: str
    panel: str
    expr: str
    legend: str
    instant: bool
    datasource: Mapping[str, str]

    def filled(self, variables: Mapping[str, str]) -> str:
        """Put values in place of the variables.

        :raises KeyError: when one is not known.
        """
        return _VARIABLE.sub(lambda found: variables[found[1]], self.expr)

    @property
    def labels(self) -> set[str]:
        """The labels that the legend shows."""
        return set(re.findall(r"{{(\w+)}}", self.legend))

    def __str__(self) -> str:
        return f"{self.dashboard}, {self.panel}: {self.expr}"


def dashboard(file: str) -> Json:
    """Read a dashboard."""
    loaded: Json = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    return loaded


def panels(board: Json) -> list[Json]:
    """List the panels of a dashboard, rows left out."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(file: str) -> Iterator[Query]:
    """List all queries of a dashboard."""
    board = dashboard(file)
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query(
                file,
                panel["title"],
                target["expr"],
                target["legendFormat"],
                target["instant"],
                target["datasource"],
            )
    for one in board["annotations"]["list"]:
        yield Query(file, one["name"], one["expr"], one["textFormat"], False, one["datasource"])
