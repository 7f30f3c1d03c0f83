"""``buildfarm-exporter prune`` on real nodes."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.realfarm.daemon import COMMAND
from tests.realfarm.farm import Farm
from tests.realfarm.pruning import EVERYWHERE, LAYER, MIB, build, empty, fill, on_all, own, records
from tests.realfarm.shell import wait_for


@pytest.fixture
def command(farm: Farm, tmp_path: Path) -> Any:
    """Run ``prune`` with these arguments; what it did."""
    file = tmp_path / "exporter.yml"
    env = farm.client.env | {"XDG_STATE_HOME": str(tmp_path), "COLUMNS": "100"}
    file.write_text(yaml.safe_dump(farm.config()))

    def start(*arguments: str, builder: str | None = None) -> subprocess.CompletedProcess[str]:
        if builder is not None:
            file.write_text(yaml.safe_dump(selecting(farm, arguments[0], builder)))
        argv = [str(COMMAND), "prune", f"--config={file}", *arguments]
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(argv, process.returncode, out, err)

    start.file, start.env = file, env  # type: ignore[attr-defined]
    return start


def selecting(farm: Farm, name: str, builder: str) -> dict[str, Any]:
    config = farm.config(name)
    config["nodes"][0]["builders"] = [builder]
    return config


def history(tmp_path: Path) -> list[dict[str, Any]]:
    file = tmp_path / "buildfarm-exporter" / "history.db"
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM prunes ORDER BY started_at")]


def begun(tmp_path: Path) -> bool:
    """Whether a prune is in the history, which the command may only be about to make."""
    try:
        return bool(history(tmp_path))
    except sqlite3.OperationalError:
        return False


@pytest.mark.parametrize(("name", "builder"), EVERYWHERE)
def test_what_the_dry_run_shows_is_what_goes(
    farm: Farm, command: Any, tmp_path: Path, name: str, builder: str
) -> None:
    """The preview names the number of records and bytes that the prune then removes."""
    node = farm[name]
    on_all(farm, EVERYWHERE, empty)
    fill(node, builder, 5, "layer")
    build(node, builder, "RUN echo 1 >/a\nRUN echo 2 >/b")
    before = records(node, builder)
    shown = command(name, "--keep-storage=65MiB", "--dry-run", builder=builder)
    assert shown.returncode == 0, shown.stderr
    assert records(node, builder) == before

    done = command(name, "--keep-storage=65MiB", builder=builder)
    assert done.returncode == 0, done.stdout + done.stderr
    after = records(node, builder)
    gone = before.keys() - after.keys()
    (line,) = (line for line in shown.stdout.splitlines() if f"{name}/{builder}" in line)
    assert f"would remove {len(gone)} record" in line
    assert 65 * MIB - LAYER - 8 * MIB < own(after.values()) < 65 * MIB
    (record,) = [row for row in history(tmp_path) if row["builder"] == builder]
    assert (record["trigger"], record["outcome"]) == ("manual", "ok")
    assert record["records"] == len(gone)


def test_empties_only_when_told_so_in_so_many_words(farm: Farm, command: Any) -> None:
    """Zero is refused; --empty asks, and without a terminal wants --yes."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 2, "layer")
    before = records(node, builder)
    for arguments in (("--keep-storage=0B",), ("--keep-storage=0%",), ("--empty",)):
        refused = command("new", *arguments)
        assert refused.returncode == 2
        assert "--empty" in refused.stderr
    assert records(node, builder) == before
    assert command("new", "--empty", "--yes").returncode == 0
    assert not own(records(node, builder).values())


def test_wrong_names_and_sizes(command: Any) -> None:
    """What can't be done is said before anything is."""
    unknown = command("nwe", "--keep-storage=1GB")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "no node is called nwe; there are: old, new, tls, local, kitd\n",
    )
    size = command("new", "--keep-storage=lots")
    assert size.returncode == 2
    assert "'lots' is not a size" in size.stderr
    bare = command("new")
    assert bare.returncode == 2
    assert "how much to keep on new?" in bare.stderr


def test_ctrl_c_lets_the_running_prune_end(farm: Farm, command: Any, tmp_path: Path) -> None:
    """After Ctrl-C the builder's prune ends whole and recorded, and no further one is begun."""
    for name, builder in (("new", "farm0"), ("local", "local0")):
        empty(farm[name], builder)
        fill(farm[name], builder, 4, "layer")
    untouched = records(farm["local"], "local0")
    argv = [str(COMMAND), "prune", f"--config={command.file}", "--keep-storage=30MiB"]
    process = subprocess.Popen(
        [*argv, "new", "local"], env=command.env, stdout=subprocess.PIPE, text=True
    )
    database = tmp_path / "buildfarm-exporter" / "history.db"
    wait_for(
        "a running prune",
        lambda: database.exists() and begun(tmp_path),
        every=0.02,
        timeout=30,
    )
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Ctrl-C: the prune that runs is let end" in said
    (record,) = history(tmp_path)
    assert (record["node"], record["outcome"]) == ("new", "ok")
    assert records(farm["local"], "local0") == untouched


def test_the_daemon_hears_of_prunes_by_hand(farm: Farm, daemon: Any, command: Any) -> None:
    """A prune by hand on the same history shows in the daemon's metrics."""
    node, builder = farm["new"], "farm0"
    empty(node, builder)
    fill(node, builder, 4, "layer")
    state = {"XDG_STATE_HOME": command.env["XDG_STATE_HOME"]}
    watch = {"keep_storage": "1GB", "when": {"cache_above": "1.2GB"}}
    running = daemon(farm.config("new", prune=watch), **state)
    assert command("new", "--keep-storage=30MiB").returncode == 0
    running.wait(
        "the manual prune",
        lambda s: (
            s.get("buildfarm_prunes_total", node="new", builder=builder, trigger="manual") == 1
        ),
    )
    assert json.dumps(running.json("/api/v1/prunes")).count('"manual"') == 1
