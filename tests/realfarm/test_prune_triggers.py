"""Every trigger on every kind of builder: pruned as far as asked, and nothing else touched."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.pruning import (
    EVERYWHERE,
    FIRST,
    LAYER,
    MIB,
    SECOND,
    Places,
    Record,
    build,
    config,
    empty,
    ended,
    fill,
    on_all,
    own,
    records,
)

KEEP = 70 * MIB
BUILDS = 8
# What else than layers there is in a cache: the base image, the context, a few directories.
SMALL = 8 * MIB


def big(found: dict[str, Record]) -> set[str]:
    return {id_ for id_, record in found.items() if record.size > LAYER // 2}


@pytest.fixture
def filled(farm: Farm) -> Callable[[Places], None]:
    """Empty all caches, then fill those of some places, oldest layers first."""

    def start(places: Places) -> None:
        on_all(farm, EVERYWHERE, empty)
        on_all(farm, places, lambda node, builder: fill(node, builder, BUILDS, "layer"))

    return start


@pytest.mark.parametrize("trigger", ["cache", "disk"])
@pytest.mark.parametrize("places", [FIRST, SECOND], ids=["first", "second"])
def test_prunes_to_keep_storage(
    farm: Farm,
    daemon: Callable[..., Daemon],
    filled: Callable[[Places], None],
    places: Places,
    trigger: str,
) -> None:
    """The cache ends below keep_storage by no more than a record, the newest layers are there, the
    disk has what was reported, the node's other builder is as it was, one node at a time."""
    filled(places)
    before = dict(zip(places, on_all(farm, places, records), strict=True))
    others = {p: records(farm[p[0]], p[1]) for p in set(EVERYWHERE) - set(places)}
    settings = {}
    for name, builder in places:
        available = farm[name].truth.file_system().available_bytes
        when = (
            {"cache_above": f"{100 * MIB}B"}
            if trigger == "cache"
            else {"disk_free_below": f"{available + 40 * MIB}B"}
        )
        settings[name, builder] = {"keep_storage": f"{KEEP}B", "when": when}
    running = daemon(config(farm, settings))
    prunes = ended(running, len(places))

    assert {(p["node"], p["builder"]) for p in prunes} == set(places)
    assert {(p["trigger"], p["outcome"], p["effective"]) for p in prunes} == {(trigger, "ok", True)}
    for first, second in pairwise(prunes):
        assert first["finished_at"] <= second["started_at"]
    page = running.scrape()
    for prune in prunes:
        place = prune["node"], prune["builder"]
        node = farm[place[0]]
        after = records(node, place[1])
        gone = before[place].keys() - after.keys()
        assert KEEP - LAYER - SMALL < own(after.values()) < KEEP
        assert prune["records"] == len(gone)
        assert prune["reclaimed"] == sum(before[place][id_].size for id_ in gone)
        freed = prune["after"]["available"] - prune["before"]["available"]
        assert freed == pytest.approx(prune["reclaimed"], rel=0.02, abs=MIB)
        kept = sorted(big(before[place]), key=lambda id_: before[place][id_].created)
        assert big(after) == set(kept[-len(big(after)) :])
        labels = {"node": place[0], "builder": place[1]}
        assert page.value("buildfarm_prunes_total", trigger=trigger, **labels) == 1
        assert page.value("buildfarm_prune_reclaimed_bytes_total", **labels) == prune["reclaimed"]
    for (name, builder), found in others.items():
        assert records(farm[name], builder) == found


@pytest.mark.parametrize("places", [FIRST, SECOND], ids=["first", "second"])
def test_prunes_small_files_when_inodes_run_out(
    farm: Farm, daemon: Callable[..., Daemon], places: Places
) -> None:
    """Few bytes in very many files: the cache is halved although it is below keep_storage."""
    on_all(farm, EVERYWHERE, empty)

    def small_files(node: Node, builder: str) -> None:
        for number in range(4):
            mount = f"RUN --mount=type=cache,target=/c,id=small-{number}"
            build(
                node,
                builder,
                f"{mount} cd /c; seq 1500 | xargs touch n{number}; head -c 4000000 /dev/zero >0",
            )

    on_all(farm, places, small_files)
    settings = {}
    free = {}
    for name, builder in places:
        disk = farm[name].truth.file_system()
        free[name] = disk.inodes_free
        share = (disk.inodes_free + 1000) / disk.inodes * 100
        settings[name, builder] = {
            "keep_storage": "500MB",
            "when": {"inodes_free_below": f"{share:.2f}%"},
        }
    for prune in ended(daemon(config(farm, settings)), len(places)):
        name = prune["node"]
        assert (prune["trigger"], prune["outcome"]) == ("inodes", "ok")
        now = farm[name].truth.file_system().inodes_free
        assert now - free[name] >= 1500
        assert prune["after"]["inodes_free"] == pytest.approx(now, abs=50)


@pytest.mark.parametrize("places", [FIRST, SECOND], ids=["first", "second"])
def test_prunes_before_a_filling_disk_is_full(
    farm: Farm, daemon: Callable[..., Daemon], filled: Callable[[Places], None], places: Places
) -> None:
    """While builds go on filling the disk, the forecast alone makes a prune due."""
    filled(places)
    prune: dict[str, Any] = {
        "keep_storage": f"{KEEP}B",
        "when": {"full_within": "6h"},
        "wait_for_idle": "1s",
    }
    settings: dict[tuple[str, str], dict[str, Any]] = dict.fromkeys(places, prune)
    running = daemon(config(farm, settings))

    def due(node: Node, builder: str) -> bool:
        return any(
            (p["node"], p["builder"], p["trigger"]) == (node.name, builder, "forecast")
            for p in running.json("/api/v1/prunes")["prunes"]
        )

    def go_on(node: Node, builder: str) -> None:
        for number in range(60):
            if due(node, builder):
                return
            build(node, builder, f"RUN head -c 2097152 /dev/urandom >/more-{number}; sleep 1")
        raise AssertionError(f"{node.name}/{builder}: no prune by the forecast")

    on_all(farm, places, go_on)
    for record in ended(running, len(places)):
        assert (record["trigger"], record["outcome"]) == ("forecast", "ok")
        assert record["after"]["cache"] < record["before"]["cache"]
        assert record["reclaimed"] > LAYER
