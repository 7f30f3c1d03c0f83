"""``prune`` by hand, over simulated nodes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.node import SimulatedNode
from tests.cli.command import command, config_for

MIB = 1024**2
PRUNE = "prune: {keep_storage: 25MiB, when: {cache_above: 60MiB}}\n"


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    """A node whose builder has ten records of 10 MiB, the first one the oldest."""
    plan = Blueprint("n1", builders=(BuilderPlan("farm0"),))
    async with SimulatedNode(plan, rng=Random(7), clock=time.time) as simulated:
        cache = simulated.machine.builders["farm0"].cache
        for record in list(cache.records.values()):
            cache.remove(record)
        now = time.time()
        for number in range(10):
            cache.add(
                size=10 * MIB, kind="regular", used=now - (10 - number) * 3600, count=1, now=now
            )
        yield simulated


@pytest.fixture
def config(node: SimulatedNode, tmp_path: Path) -> str:
    url = f"storage: {{url: 'sqlite:///{tmp_path}/history.db'}}\n"
    return config_for(node, path=tmp_path / "farm.yml", more=url)


def left(node: SimulatedNode) -> int:
    return node.machine.builders["farm0"].cache.size // MIB


async def test_prunes_down_to_what_is_to_be_kept(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    """The oldest records go, the rest is told, and the history has it."""
    done = await command("prune", "-c", config, "--keep-storage", "25MiB")
    assert (done.code, done.err) == (0, "")
    assert left(node) == 20
    assert "n1/farm0: removed 8 records, 80.0 MiB, in " in done.out
    assert "the cache is now 20.0 MiB" in done.out
    with sqlite3.connect(tmp_path / "history.db") as database:
        rows = list(database.execute("SELECT builder, trigger, outcome, records FROM prunes"))
    assert rows == [("farm0", "manual", "ok", 8)]


async def test_a_dry_run_shows_the_oldest_first(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    """Nothing goes, and no history is made."""
    done = await command("prune", "-c", config, "--keep-storage", "75MiB", "--dry-run")
    assert done.code == 0
    assert left(node) == 100
    head, _, *rows = done.lines
    assert head == "n1/farm0: would remove 3 records of 10, 30.0 MiB of 100.0 MiB:"
    assert [row.split()[:4] for row in rows] == [
        ["10.0", "MiB", hours, "h"] for hours in ("10", "9", "8")
    ]
    assert not (tmp_path / "history.db").exists()


async def test_the_configuration_says_how_much_to_keep(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    """keep_storage is the default of --keep-storage; without either nothing is done."""
    bare = await command("prune", "-c", config)
    assert (bare.code, bare.out) == (2, "")
    assert "how much to keep on n1? Give --keep-storage" in bare.err
    assert left(node) == 100
    Path(config).write_text(Path(config).read_text() + PRUNE)
    assert (await command("prune", "-c", config)).code == 0
    assert left(node) == 20


async def test_a_node_that_is_not_to_be_pruned_must_be_named(
    node: SimulatedNode, config: str
) -> None:
    """Where others are: a bare --keep-storage must not reach it."""
    entry = "- {name: other, endpoint: 'unix:///nonexistent/docker.sock'}\n"
    left_out = Path(config).read_text().replace("- name: n1", "- prune: false\n  name: n1")
    Path(config).write_text(left_out.replace("nodes:\n", f"nodes:\n{entry}") + PRUNE)
    done = await command("prune", "-c", config, "--keep-storage", "25MiB")
    assert "left out, as the configuration does: n1\n" in done.err
    assert left(node) == 100
    assert (await command("prune", "-c", config, "n1", "--keep-storage", "25MiB")).code == 0
    assert left(node) == 20


@pytest.mark.parametrize("columns", ["60", None], ids=["60", "pipe"])
async def test_only_the_description_is_cut_short(
    node: SimulatedNode, config: str, columns: str | None
) -> None:
    """The table of a dry run on a narrow terminal, and in a pipe."""
    long = "RUN " + "make " * 30 + "all"
    for record in node.machine.builders["farm0"].cache.records.values():
        record.description = long
    arguments = ("prune", "-c", config, "--keep-storage", "95MiB", "--dry-run")
    done = await command(*arguments, columns=columns)
    *_, row = done.lines
    assert row.startswith("10.0 MiB  10 h ago   regular  RUN make ")
    assert row.endswith(long if columns is None else "…")
    assert len(row) <= int(columns or 1000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "no node is called nope; there are: n1"),
        (["--keep-storage", "20"], "--keep-storage: '20' has no unit; write 20GB, 20MiB or 20%"),
        (["--keep-storage", "0B"], "that would keep nothing; to empty the cache, say --empty"),
        (["--keep-storage", "1GB", "--empty"], "give either --keep-storage or --empty"),
        (["--empty"], "--empty would empty the caches on n1; say --yes as well"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    node: SimulatedNode, config: str, arguments: list[str], said: str
) -> None:
    """Before anything is done, with exit code 2."""
    done = await command("prune", "-c", config, *arguments)
    assert done.code == 2
    assert said in done.err
    assert left(node) == 100


async def test_more_than_the_disk_holds_is_refused(node: SimulatedNode, config: str) -> None:
    """What can only be seen on the node is told of that node."""
    done = await command("prune", "-c", config, "--keep-storage", "900TiB")
    assert done.code == 1
    assert "can't be kept on it" in done.out
    assert left(node) == 100


async def test_empties_when_told_so_twice(node: SimulatedNode, config: str) -> None:
    """--empty --yes."""
    assert (await command("prune", "-c", config, "--empty", "--yes")).code == 0
    assert left(node) == 0


async def test_nothing_to_prune_is_no_failure(node: SimulatedNode, config: str) -> None:
    """A cache that is small enough already."""
    done = await command("prune", "-c", config, "--keep-storage", "500MiB")
    assert done.code == 0
    assert "the cache is 100.0 MiB, not above 500.0 MiB: nothing to prune" in done.out
    assert left(node) == 100


async def test_status_says_what_would_be_done(
    node: SimulatedNode, config: str, tmp_path: Path
) -> None:
    """Due before the prune; the cooldown after it, out of the same history."""
    Path(config).write_text(Path(config).read_text() + PRUNE)
    due = await command("status", "-c", config)
    assert "n1/farm0  prune: due: the cache is 100.0 MiB, more than 60.0 MiB" in due.out
    assert not (tmp_path / "history.db").exists()
    assert (await command("prune", "-c", config)).code == 0
    assert "prune:" not in (await command("status", "-c", config)).out
    cache = node.machine.builders["farm0"].cache
    for _ in range(9):
        cache.add(size=10 * MIB, kind="regular", count=1, now=time.time())
    soon = await command("status", "-c", config)
    assert "n1/farm0  prune: cooldown: the cache is 110.0 MiB" in soon.out
