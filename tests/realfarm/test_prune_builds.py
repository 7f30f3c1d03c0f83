"""Pruning beside builds: it waits for them, or does not, and never hurts one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.pruning import (
    LAYER,
    MIB,
    Places,
    build,
    config,
    decision,
    empty,
    ended,
    fill,
    on_all,
    records,
)
from tests.realfarm.shell import FarmError, wait_for

PLACES: Places = (("old", "docker"), ("new", "farm0"), ("local", "docker"), ("kitd", "buildkitd"))
CACHE = {"keep_storage": f"{70 * MIB}B", "when": {"cache_above": f"{90 * MIB}B"}}
# What holds for the whole farm: here every node may be pruned at once.
AT_ONCE = {
    "keep_storage": "1GB",
    "when": {"cache_above": "1.4GB"},
    "max_parallel_per_platform": len(PLACES),
}
LONG = f"RUN head -c {LAYER} /dev/urandom >/used && sleep 20 && echo well >/end"


@pytest.fixture
def long_builds(farm: Farm) -> Iterator[Callable[[str], list[Future[str]]]]:
    """Start a build of these steps at every place; they are waited for at the end."""
    with ThreadPoolExecutor(len(PLACES)) as pool:
        yield lambda steps: [pool.submit(build, farm[n], b, steps) for n, b in PLACES]


def test_waits_for_a_build_to_end(
    farm: Farm,
    daemon: Callable[..., Daemon],
    long_builds: Callable[[str], list[Future[str]]],
) -> None:
    """While a build runs a due prune is put off, and told of once; then it is done."""
    on_all(farm, PLACES, empty)
    on_all(farm, PLACES, lambda node, builder: fill(node, builder, 5, "layer"))
    building = long_builds(LONG)
    running = daemon(config(farm, dict.fromkeys(PLACES, CACHE)))
    deferred = "buildfarm_prunes_deferred_total"
    running.wait(
        "deferred prunes",
        lambda s: all(s.get(deferred, node=name) == 1 for name, _ in PLACES),
    )
    assert {decision(running, name)["verdict"] for name, _ in PLACES} == {"wait_builds"}
    assert not any(one.done() for one in building)
    assert running.json("/api/v1/prunes")["prunes"] == []
    for prune in ended(running, len(PLACES)):
        assert (prune["outcome"], prune["effective"]) == ("ok", True)
    assert all(one.done() and one.result() for one in building)
    assert set(running.scrape().all(deferred).values()) == {1}


def test_a_critical_prune_runs_beside_a_build(
    farm: Farm,
    daemon: Callable[..., Daemon],
    long_builds: Callable[[str], list[Future[str]]],
) -> None:
    """In the critical zone builds are not waited for; the build ends well, its records are kept."""
    on_all(farm, PLACES, empty)
    on_all(farm, PLACES, lambda node, builder: fill(node, builder, 6, "layer"))
    step = f"RUN head -c {LAYER} /dev/urandom >/base"
    on_all(farm, PLACES, lambda node, builder: build(node, builder, step))
    settings = {}
    for place in PLACES:
        available = farm[place[0]].truth.file_system().available_bytes
        below = {"disk_free_below": f"{available + 10 * MIB}B"}
        settings[place] = {"keep_storage": f"{70 * MIB}B", "when": below, "critical": below}
    building = long_builds(f"{step}\n{LONG}")
    running = daemon(config(farm, settings, prune=AT_ONCE))
    for prune in ended(running, len(PLACES)):
        assert (prune["trigger"], prune["outcome"]) == ("disk", "ok")
        assert prune["reclaimed"] >= LAYER
    assert not any(one.done() for one in building)
    for one in building:
        one.result(120)
    again = on_all(
        farm, PLACES, lambda node, builder: build(node, builder, f"{step}\n{LONG}", timeout=15)
    )
    assert all(progress.count("CACHED") >= 2 for progress in again)


def test_does_not_wait_for_ever(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """After wait_for_idle it prunes although a build runs, which ends well."""
    name, builder = PLACES[1]
    node = farm[name]
    empty(node, builder)
    fill(node, builder, 5, "layer")
    with ThreadPoolExecutor(1) as pool:
        building = pool.submit(build, node, builder, LONG)
        running = daemon(config(farm, {(name, builder): {**CACHE, "wait_for_idle": "6s"}}))
        (prune,) = ended(running, 1)
        assert not building.done()
        building.result(120)
    assert prune["outcome"] == "ok"
    assert running.scrape().value("buildfarm_prunes_deferred_total", node=name) == 1
    assert records(node, builder)


def test_a_filling_build_does_not_leave_a_full_disk(
    farm: Farm, daemon: Callable[..., Daemon]
) -> None:
    """A build fills the disk to its last byte and fails; what is there is pruned by itself, and the
    next build has room."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 6, "layer")
    settings = {
        "keep_storage": f"{30 * MIB}B",
        "when": {"disk_free_below": f"{300 * MIB}B"},
        "critical": {"disk_free_below": f"{50 * MIB}B"},
        "cooldown": "5s",
    }
    with node.disk.filled(leave_mb=320):
        running = daemon(config(farm, {("new", builder): settings}))
        with pytest.raises(FarmError, match=r"No space left|I/O error"):
            build(node, builder, "RUN head -c 943718400 /dev/zero >/huge")
        running.wait(
            "free space",
            lambda s: (s.get("buildfarm_disk_available_bytes", node="new") or 0) > 330 * MIB,
        )
        prunes = running.json("/api/v1/prunes")["prunes"]
        assert {prune["trigger"] for prune in prunes} == {"disk"}
        build(node, builder, "RUN head -c 104857600 /dev/zero >/fits")


def test_a_filesystem_without_inodes_recovers(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """Cache mounts full of small files take the last inode; after the prune builds work again."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    for number in range(4):
        mount = f"RUN --mount=type=cache,target=/c,id=many-{number}"
        build(node, builder, f"{mount} cd /c && seq 2000 | xargs touch n{number}")
    more = "RUN mkdir /m && cd /m && seq 3000 | xargs touch"
    with node.disk.inodes_filled(leave=500):
        with pytest.raises(FarmError, match="No space left on device"):
            build(node, builder, more)
        settings = {"keep_storage": "500MB", "when": {"inodes_free_below": "8%"}, "cooldown": "5s"}
        running = daemon(config(farm, {("new", builder): settings}))
        running.wait(
            "free inodes", lambda s: (s.get("buildfarm_disk_inodes_free", node="new") or 0) > 3600
        )
        assert {p["trigger"] for p in running.json("/api/v1/prunes")["prunes"]} == {"inodes"}
        wait_for("room for a build", lambda: build(node, builder, more), timeout=30)
