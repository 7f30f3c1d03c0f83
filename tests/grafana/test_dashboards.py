"""The dashboards keep their rules: made from code, of metrics that are served, explained."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import promql_parser as promql
import pytest

from exporter.exposition.alerts import AlertMetrics
from exporter.exposition.canaries import CanaryMetrics
from exporter.exposition.families import FAMILIES
from exporter.exposition.own import OwnMetrics
from exporter.exposition.prunes import PruneMetrics
from grafana.__main__ import BOARDS
from grafana.queries import narrowed
from tests.grafana.reading import FILES, FOLDER, Query, dashboard, panels, queries

UIDS = {
    "farm.json": "buildfarm-farm",
    "node.json": "buildfarm-node",
    "canaries-and-builds.json": "buildfarm-builds",
}
RATE_INTERVAL, RANGE = timedelta(minutes=7, seconds=11), timedelta(hours=5, seconds=3)
VARIABLES = {
    "node": "N",
    "builder": "B",
    "platform": "P",
    "__rate_interval": "7m11s",
    "__range": "5h3s",
}
NOT_OF_A_NODE = (
    "process_",
    "buildfarm_alert",
    "buildfarm_config_",
    "buildfarm_exporter_",
    "buildfarm_multiarch_",
)
SAMPLES = {
    "gauge": ("",),
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def parsed(query: Query) -> list[promql.Expr]:
    """All parts of a query with values in place of its variables."""
    found: list[promql.Expr] = []
    promql.walk(promql.parse(query.filled(VARIABLES)), found.append)
    return found


def selectors(query: Query) -> list[promql.VectorSelector]:
    """The series that a query takes."""
    return [part for part in parsed(query) if isinstance(part, promql.VectorSelector)]


def served() -> Iterator[str]:
    """Name every sample that the exporter can serve."""
    for family in FAMILIES:
        base = family.name.removesuffix("_total")
        yield from (base + ending for ending in SAMPLES[family.kind])
    registry = OwnMetrics("0").registry
    PruneMetrics(registry, ())
    CanaryMetrics(registry, ())
    AlertMetrics(registry, ())
    for metric in registry.collect():
        yield from (metric.name + ending for ending in SAMPLES[metric.type])


every_file = pytest.mark.parametrize("file", FILES)


@every_file
def test_file_is_what_the_code_makes(file: str) -> None:
    """If this fails, run ``make dashboards``."""
    assert (FOLDER / file).read_text(encoding="utf-8") == BOARDS[file].json()


def test_every_dashboard_has_its_file() -> None:
    assert list(BOARDS) == list(UIDS)
    assert sorted(BOARDS) == FILES


@every_file
def test_address_is_kept(file: str) -> None:
    """People bookmark it, and link to it."""
    assert dashboard(file)["uid"] == UIDS[file]


@every_file
def test_opens_well_anywhere(file: str) -> None:
    board = dashboard(file)
    assert board["timezone"] == "browser"
    assert board["editable"] is False
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@every_file
def test_panels_fill_rows_without_overlap(file: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(file)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@every_file
def test_every_panel_explains_itself(file: str) -> None:
    for panel in panels(dashboard(file)):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"] not in ("", "No data"), panel["title"]


@every_file
def test_dashboards_lead_to_each_other(file: str) -> None:
    board = dashboard(file)
    (link,) = board["links"]
    assert link["includeVars"] is link["keepTime"] is True
    assert set(link["tags"]) <= set(board["tags"])


def test_node_in_the_farm_leads_to_its_dashboard() -> None:
    tables = [panel for panel in panels(dashboard("farm.json")) if panel["type"] == "table"]
    looks = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in tables[0]["fieldConfig"]["overrides"]
    }
    (link,) = looks["Node"]["links"]
    assert link["url"].startswith(f"/d/{UIDS['node.json']}?")
    assert "var-node=${__data.fields.Node}" in link["url"]
    assert "${__url_time_range}" in link["url"]


@every_file
def test_variables(file: str) -> None:
    first, node, *more = dashboard(file)["templating"]["list"]
    assert (first["type"], first["query"]) == ("datasource", "prometheus")
    assert (node["name"], node["query"]) == ("node", "label_values(buildfarm_node_up, node)")
    for variable in (node, *more):
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["multi"] is variable["includeAll"] is True


@every_file
def test_prunes_are_marked_when_they_ended(file: str) -> None:
    (prunes,) = dashboard(file)["annotations"]["list"]
    assert prunes["enable"] is True
    assert prunes["useValueForTime"]
    assert prunes["expr"].startswith("buildfarm_prune_last_timestamp_seconds{")
    assert prunes["expr"].endswith("* 1000")


@every_file
def test_queries_take_what_is_served(file: str) -> None:
    names = set(served())
    for query in queries(file):
        taken = {selector.name for selector in selectors(query)}
        assert taken, query
        assert taken <= names, query


@every_file
def test_queries_ask_the_chosen_data_source(file: str) -> None:
    for query in queries(file):
        assert query.datasource == {"type": "prometheus", "uid": "${datasource}"}, query


@every_file
def test_rates_are_over_the_rate_interval(file: str) -> None:
    """Only an increase is over the whole time range, too."""
    allowed = {"rate": {RATE_INTERVAL}, "increase": {RATE_INTERVAL, RANGE}}
    for query in queries(file):
        for part in parsed(query):
            if not isinstance(part, promql.Call):
                continue
            for argument in part.args:
                if isinstance(argument, promql.MatrixSelector):
                    assert argument.range in allowed[part.func.name], query


@every_file
def test_counters_are_never_shown_as_they_are(file: str) -> None:
    for query in queries(file):
        ranges = [part for part in parsed(query) if isinstance(part, promql.MatrixSelector)]
        inside = [part.vector_selector.name for part in ranges]
        for selector in selectors(query):
            counter = (selector.name or "").endswith(("_total", "_bucket", "_sum", "_count"))
            assert selector.name in inside or not counter, query


@every_file
def test_queries_are_narrowed_to_what_is_selected(file: str) -> None:
    """And never by what the scrape is called."""
    for query in queries(file):
        for selector in selectors(query):
            matchers = {one.name: one.value for one in selector.matchers.matchers}
            assert not matchers.keys() & {"job", "instance"}, query
            whole = (selector.name or "").startswith(NOT_OF_A_NODE)
            assert matchers.get("node") == (None if whole else "N"), query


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        ("buildfarm_node_up", 'buildfarm_node_up{node=~"$node"}'),
        ('buildfarm_alerts{state="firing"}', 'buildfarm_alerts{state="firing"}'),
        (
            'buildfarm_canary_success{emulated="true"} > 0',
            'buildfarm_canary_success{node=~"$node",builder=~"$builder",emulated="true"} > 0',
        ),
        (
            "rate(buildfarm_prunes_total[1m])",
            'rate(buildfarm_prunes_total{node=~"$node",builder=~"$builder"}[1m])',
        ),
        ("process_open_fds", "process_open_fds"),
    ],
)
def test_narrowing(expr: str, expected: str) -> None:
    """Each metric is narrowed by the variables that it has labels for."""
    assert narrowed(expr, ("node", "builder")) == expected
