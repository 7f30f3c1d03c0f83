"""Pruning when something goes wrong: killed, silent, refused, or the space is somebody else's."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.pruning import MIB, build, config, decision, empty, ended, fill, records
from tests.realfarm.shell import wait_for

CACHE = {"keep_storage": f"{50 * MIB}B", "when": {"cache_above": f"{80 * MIB}B"}}


def prunes(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.json("/api/v1/prunes")["prunes"]
    return found


def test_a_killed_daemon_neither_forgets_nor_repeats_a_prune(
    farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Killed while a prune runs and started again: one record, and no second prune."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 5, "layer")
    sections = {"storage": {"url": f"sqlite:///{tmp_path}/history.db"}}
    settings = config(farm, {("new", builder): CACHE}, **sections)
    first = daemon(settings)
    wait_for("a running prune", lambda: prunes(first), timeout=60, every=0.02)
    with node.engine.paused():
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(10)
    fill(node, builder, 5, "after")
    # The kill is what this test is about; the fixture would take it for a crash.
    first.process.returncode = 0

    second = daemon(settings)
    (record,) = prunes(second)
    wait_for("the record's end", lambda: prunes(second)[0]["finished_at"] is not None, timeout=120)
    (record,) = prunes(second)
    assert record["outcome"] == "interrupted"
    assert "stopped or killed" in record["note"]
    second.wait("a decision", lambda _: decision(second, "new")["verdict"] == "cooldown")
    assert len(prunes(second)) == 1


def test_a_silent_builder_is_reported_and_not_cancelled(
    farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """A builder that stands still in the middle of a prune is told of; when it goes on, so does the
    prune."""
    node, builder = farm["kitd"], "buildkitd"
    for attempt in range(5):  # it may be done, or not yet asked, when the builder stands still
        empty(node, builder)
        # Very many records: each is removed, and written down, by itself.
        build(node, builder, "\n".join(f"RUN echo {attempt} {n} >/{n}" for n in range(120)))
        fill(node, builder, 5, f"layer-{attempt}")
        settings = {"keep_storage": "1MB", "when": {"cache_above": f"{80 * MIB}B"}}
        storage = {"url": f"sqlite:///{tmp_path}/{attempt}.db"}
        running = daemon(config(farm, {("kitd", builder): settings}, storage=storage))
        wait_for("a running prune", partial(prunes, running), timeout=60, every=0.02)
        with node.engine.paused():
            wait_for("what came of it", partial(_ends_or_stalls, running.log), timeout=150)
            if stalled := STALLED in running.log.read_text():
                assert prunes(running)[0]["outcome"] == "running"
        (prune,) = ended(running, 1)
        if stalled:
            break
        running.stop()
    assert (prune["outcome"], prune["stalled"]) == ("ok", True)
    assert prune["records"] > 120


STALLED = "the prune makes no progress"


def _ends_or_stalls(log: Path) -> bool:
    others = ("prune ended", "prune did not end well", "can't measure what a prune does")
    said = log.read_text()
    return any(words in said for words in (STALLED, *others))


def test_says_whose_the_space_is(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """A disk that something else fills: the cache is pruned once, then left alone, and named is
    what else is there."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 5, "layer")
    settings = {**CACHE, "when": {"disk_free_below": "1300MiB"}}
    running = daemon(config(farm, {("new", builder): settings}))
    (prune,) = ended(running, 1)
    assert (prune["outcome"], prune["effective"]) == ("ok", False)
    assert "in images" in prune["note"]
    running.wait(
        "the next decision", lambda _: decision(running, "new")["verdict"] == "nothing_to_free"
    )
    page = running.scrape()
    assert page.value("buildfarm_prunes_ineffective_total", node="new") == 1
    assert page.value("buildfarm_prune_due", node="new", verdict="nothing_to_free") == 1
    assert len(prunes(running)) == 1


def test_settings_that_can_not_be_are_refused_at_run_time(
    farm: Farm, daemon: Callable[..., Daemon]
) -> None:
    """keep_storage above the filesystem: nothing is pruned, and it says why."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 2, "layer")
    before = records(node, builder)
    settings = {"keep_storage": "20GB", "when": {"disk_free_below": "99%"}}
    running = daemon(config(farm, {("new", builder): settings}))
    running.wait("a decision", lambda _: running.json("/api/v1/prunes")["decisions"])
    said = decision(running, "new")
    assert said["verdict"] == "refused"
    assert "not less than the filesystem" in said["reason"]
    assert records(node, builder) == before


def test_a_dry_run_removes_nothing(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """dry_run decides and tells, once a cooldown, and the cache stays as it is."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 5, "layer")
    before = records(node, builder)
    running = daemon(config(farm, {("new", builder): {**CACHE, "dry_run": True}}))
    (prune,) = ended(running, 1)
    assert (prune["outcome"], prune["reclaimed"]) == ("dry_run", 0)
    assert records(node, builder) == before


def test_orphaned_state_is_removed_when_asked_for(
    farm: Farm, daemon: Callable[..., Daemon]
) -> None:
    """The state volume of a removed builder goes after remove_after; other volumes stay."""
    node = farm["new"]
    volume = "buildx_buildkit_gone0_state"
    node.run(["docker", "volume", "create", volume])
    node.run(["docker", "volume", "create", "precious"])
    running = daemon(farm.config("new", collect={"orphans": "2s"}, orphans={"remove_after": "1m"}))
    began = time.monotonic()
    running.wait(
        "the removal",
        lambda s: s.get("buildfarm_orphaned_state_volumes_removed_total", node="new") == 1,
        timeout=240,
    )
    assert time.monotonic() - began > 50
    names = node.truth.volumes()
    assert volume not in names
    assert {"precious", "buildx_buildkit_farm0_state"} <= set(names)
    node.run(["docker", "volume", "rm", "precious"])


def test_a_restarted_builder_ends_the_prune_with_an_error(
    farm: Farm, daemon: Callable[..., Daemon]
) -> None:
    """buildkitd killed in the middle: the record says so, and the cooldown holds."""
    node, builder = farm["kitd"], "buildkitd"
    empty(node, builder)
    fill(node, builder, 5, "layer")
    running = daemon(config(farm, {("kitd", builder): CACHE}))
    wait_for("a running prune", lambda: prunes(running), timeout=60, every=0.02)
    node.engine.kill()
    node.engine.start()
    (prune,) = ended(running, 1)
    assert prune["outcome"] in ("failed", "ok")
    build(node, builder, "RUN true")
