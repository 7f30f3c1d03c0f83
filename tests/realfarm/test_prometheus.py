"""A real Prometheus scrapes the exporter while builds run and a node is lost for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.realfarm.caches import BUILDERS, told
from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.prometheus import Prometheus, scraping
from tests.realfarm.shell import run, wait_for
from tests.realfarm.watching import exporter_for_all, failure, wait_all_fresh

COLLECT = {"reachability": "2s", "disk": "2s", "cache": "2s", "workers": "5s", "orphans": "5s"}
SCRAPES = 100
"""One a second."""


@dataclass(frozen=True)
class Story:
    """What has been lived through, and who tells of it."""

    farm: Farm
    exporter: Daemon
    prometheus: Prometheus
    pages: tuple[str, ...]
    """What was served when all was well, in the outage, and at the end."""


@pytest.fixture(scope="module")
def story(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Two minutes in the life of a farm: every builder builds, and Docker on ``tls`` is away."""
    folder = tmp_path_factory.mktemp("exporter")
    config = farm.config(key="restricted", collect=COLLECT)
    with (
        exporter_for_all(farm, folder, config) as exporter,
        scraping(exporter, tmp_path_factory.mktemp("prometheus"), "1s") as prometheus,
    ):
        wait_all_fresh(exporter, farm.nodes)
        pages = [exporter.get("/metrics")[1]]
        _build_everywhere(farm, 1)
        with farm["tls"].engine.stopped():
            exporter.wait("the outage", lambda s: failure(s, "tls"))
            pages.append(exporter.get("/metrics")[1])
            wait_all_fresh(exporter, set(farm.nodes) - {"tls"})
        _build_everywhere(farm, 2)
        wait_for(
            f"{SCRAPES} scrapes",
            lambda: prometheus.one('count_over_time(up{job="buildfarm"}[1h])') >= SCRAPES,
            timeout=2 * SCRAPES,
            why=prometheus.said,
        )
        pages.append(exporter.get("/metrics")[1])
        yield Story(farm, exporter, prometheus, tuple(pages))


def _build_everywhere(farm: Farm, number: int) -> None:
    text = f"FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=7 && : {number}\n"
    with ThreadPoolExecutor(2, "build") as pool:
        list(pool.map(lambda row: farm[row[0]].build(row[1], text), BUILDERS))


def test_every_scrape_worked(story: Story) -> None:
    """The exporter was up for Prometheus all the time, and no sample was turned down."""
    assert story.prometheus.one('min_over_time(up{job="buildfarm"}[1h])') == 1
    for target in story.prometheus.api("targets")["activeTargets"]:
        assert (target["health"], target["lastError"]) == ("up", "")
    refused = story.prometheus.query(
        '{__name__=~"prometheus_target_scrapes_(exceeded|sample)_.*_total"}', "__name__"
    )
    assert len(refused) >= 4
    assert not any(refused.values()), refused
    log = story.prometheus.log.read_text()
    assert "Append failed" not in log
    assert "Error on" not in log


@pytest.mark.parametrize("moment", [0, 1, 2], ids=["well", "outage", "end"])
def test_promtool_finds_nothing(story: Story, moment: int) -> None:
    """``promtool check metrics`` has nothing to say about names, types and help."""
    done = run(["promtool", "check", "metrics"], stdin=story.pages[moment], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_caches_are_what_the_nodes_hold(story: Story) -> None:
    """Sums over the whole farm, and by node and builder, are those that the nodes tell."""
    farm, prometheus = story.farm, story.prometheus

    def same() -> bool:
        now = time.time()
        holds = {row: told(farm[row[0]], row[1], now) for row in BUILDERS}
        sizes = prometheus.query(
            "sum by (node, builder) (buildfarm_cache_size_bytes)", "node", "builder"
        )
        records = prometheus.query(
            "sum by (node, builder) (buildfarm_cache_records)", "node", "builder"
        )
        return (
            sizes == {row: sums.total for row, sums in holds.items()}
            and records == {row: sum(sums.records.values()) for row, sums in holds.items()}
            and prometheus.one("sum(buildfarm_cache_size_bytes)") == sum(sizes.values())
        )

    wait_for("the sums to be those of the nodes", same, timeout=30)


def test_disks_are_what_the_nodes_hold(story: Story) -> None:
    """So are the bytes that are left on all disks together."""

    def same() -> bool:
        told = sum(node.truth.file_system().available_bytes for node in story.farm.nodes.values())
        return story.prometheus.one("sum(buildfarm_disk_available_bytes)") == told

    wait_for("the sum to be that of the nodes", same, timeout=30)


def test_outage_in_the_history(story: Story) -> None:
    """One node was away once, for the reason that there was; the others never were."""
    prometheus, nodes = story.prometheus, set(story.farm.nodes)
    lowest = prometheus.query("min_over_time(buildfarm_node_up[1h])", "node")
    assert lowest == {(name,): float(name != "tls") for name in nodes}
    assert prometheus.query("buildfarm_node_up", "node") == {(name,): 1.0 for name in nodes}
    assert prometheus.query("changes(buildfarm_node_up[1h]) > 0", "node") == {("tls",): 2.0}
    failures = prometheus.query(
        "count_over_time(buildfarm_node_failure[1h])", "node", "layer", "reason"
    )
    assert failures.keys() <= {
        ("tls", "transport", "refused"),
        ("tls", "transport", "protocol"),  # closed by the server while an answer was awaited
    }
    assert ("tls", "transport", "refused") in failures
    assert prometheus.query("buildfarm_node_failure", "node") == {}


def test_data_stayed_fresh(story: Story) -> None:
    """No collection of the other nodes was ever late by several intervals; no series broke."""
    late = story.prometheus.query(
        "max by (node, collector) (max_over_time((time() - "
        'buildfarm_collector_last_success_timestamp_seconds{node!="tls"})[1h:1s]))',
        "node",
        "collector",
    )
    assert {collector for _, collector in late} >= {"reachability", "disk", "cache"}
    limits = {"workers": 15, "orphans": 15, "certificates": 15}
    assert {row: age for row, age in late.items() if age > limits.get(row[1], 10)} == {}


def test_one_connection_for_all_the_time(story: Story) -> None:
    """Over SSH each node was logged in to once, and has one session of ours."""
    for name in ("old", "new"):
        connects = f'buildfarm_node_connects_total{{node="{name}"}}'
        assert story.prometheus.one(f"max_over_time({connects}[1h])") == 1
        sessions = story.farm[name].run(["pgrep", "-fa", "^sshd(-session)?: root@notty"]).stdout
        assert len(sessions.splitlines()) == 1, sessions
