"""Every query of the Grafana dashboards finds data in a real Prometheus that scraped the farm."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from tests.grafana.reading import FILES, Query, queries
from tests.realfarm.caches import BUILDERS
from tests.realfarm.farm import Farm
from tests.realfarm.prometheus import Prometheus, scraping
from tests.realfarm.pruning import MIB, QUICK, build, fill
from tests.realfarm.shell import FarmError, wait_for
from tests.realfarm.watching import exporter_for_all, failure, wait_all_fresh

EMULATES = "new"
"""Expected to be native for a platform that it emulates: its canaries are both."""
FILLS = "old"
"""The disk of this node fills all the time."""

EMPTY = "buildfarm_multiarch_canary_cached_steps"
"""The one metric without data: the builder has no second node to share a cache with."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Story:
    """A Prometheus, and when what it tells of began."""

    prometheus: Prometheus
    since: float

    def rows(self, query: Query) -> list[Row]:
        """What there was to see at any time: series with a number in them."""
        now = time.time()
        length = f"{math.ceil(now - self.since)}s"
        everything = dict.fromkeys(("node", "builder", "platform"), ".+")
        expr = query.filled(everything | {"__range": length, "__rate_interval": "30s"})
        found = self.prometheus.api(
            "query_range", query=expr, start=str(self.since), end=str(now), step="1"
        )
        return [
            row for row in found["result"] if any(number != "NaN" for _, number in row["values"])
        ]

    def unanswered(self) -> list[Query]:
        """The queries that nothing was found for yet."""
        return [query for file in FILES for query in queries(file) if not self.rows(query)]


def config(farm: Farm, alertmanager: int) -> dict[str, Any]:
    """All that there is to show is switched on, and happens soon."""
    address = farm.registry_address
    result = farm.config(
        collect=QUICK,
        prune={
            "keep_storage": f"{50 * MIB}B",
            "when": {"cache_above": f"{70 * MIB}B"},
            "cooldown": "20s",
            "wait_for_idle": "1s",
        },
        canary={
            "every": "20s",
            "workload": {"cpu": "8MiB", "disk": "8MiB"},
            "skip_while_building": False,
            "multiarch": {
                "builder": "farm",
                "push": f"{address}/canary:latest",
                "cache": f"{address}/canary:buildcache",
            },
        },
        alerting={
            "alertmanagers": [{"url": f"http://127.0.0.1:{alertmanager}"}],
            "alerts": {"BuildFarmNodeUnreachable": {"for": "1s"}},
        },
    )
    nodes = {node["name"]: node for node in result["nodes"]}
    nodes[EMULATES]["platforms"] = ["linux/amd64", "linux/arm64"]
    nodes[FILLS]["prune"] = False
    return result


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="module")
def story(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Builds, prunes, canaries, a node that is lost for a while, a disk that fills."""
    since = time.time()
    with (
        farm.emulated_arm64(),
        closed_port() as closed,
        exporter_for_all(
            farm, tmp_path_factory.mktemp("exporter"), config(farm, closed)
        ) as exporter,
        scraping(exporter, tmp_path_factory.mktemp("prometheus"), "1s") as prometheus,
    ):
        wait_all_fresh(exporter, farm.nodes)
        for node, builder in BUILDERS:
            fill(farm[node], builder, 4, "layer")
            build(farm[node], builder, "RUN true")
            with pytest.raises(FarmError):
                build(farm[node], builder, "RUN false")
        with farm["tls"].engine.stopped():
            exporter.wait("the outage", lambda scrape: failure(scrape, "tls"))
            wait_for(
                "the alert in Prometheus",
                lambda: prometheus.query('buildfarm_alerts{state="firing"} > 0', "alertname"),
                why=prometheus.said,
            )
        wait_all_fresh(exporter, farm.nodes)
        told = Story(prometheus, since)
        filler = f"{farm[FILLS].disk.mount}/more"
        mebibytes = count(2, 2)

        def answered() -> bool:
            farm[FILLS].run(["fallocate", "-l", f"{next(mebibytes)}MiB", filler])
            return all(EMPTY in query.expr for query in told.unanswered())

        try:
            wait_for(
                "every query to find something",
                answered,
                timeout=240,
                every=1,
                why=lambda: "\n".join(f"    {query}" for query in told.unanswered()),
            )
            yield told
        finally:
            farm[FILLS].run(["rm", "-f", filler])


@pytest.mark.parametrize("file", FILES)
def test_legends_name_labels_that_are_there(story: Story, file: str) -> None:
    """Each query has data, or the story would not have been told; its lines have their names."""
    for query in queries(file):
        for row in story.rows(query):
            assert query.labels <= row["metric"].keys(), query


def test_nothing_else_is_empty(story: Story) -> None:
    """And that one is."""
    every = [query for file in FILES for query in queries(file)]
    assert story.unanswered() == [query for query in every if EMPTY in query.expr]
