"""What the tests of pruning share: caches that are filled, emptied and compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import FarmError

MIB = 1024**2
QUICK = {"reachability": "1s", "disk": "1s", "cache": "1s", "workers": "5s", "orphans": "2s"}
LAYER = 20 * MIB
"""What one build of :func:`fill` adds to a cache, apart from a few KiB."""

Places = tuple[tuple[str, str], ...]
"""Nodes with one of their builders each."""

FIRST: Places = (
    ("old", "docker"),
    ("new", "docker"),
    ("tls", "tls0"),
    ("local", "docker"),
    ("kitd", "buildkitd"),
)
SECOND: Places = (("new", "farm0"), ("local", "local0"))
EVERYWHERE = FIRST + SECOND


def empty(node: Node, builder: str) -> None:
    """Empty a builder's cache by its own tool."""
    if builder == "docker":
        node.run(["docker", "builder", "prune", "--all", "--force"])
    elif builder == "buildkitd":
        node.run(["buildctl", "prune", "--all"])
    else:
        node.run(["docker", "exec", node.container_name, "buildctl", "prune", "--all"])


def fill(node: Node, builder: str, builds: int, name: str) -> None:
    """Build so often, each with 20 MiB of its own that no image uses."""
    for number in range(builds):
        build(node, builder, f"RUN head -c {LAYER} /dev/urandom >/{name}-{number}")


def build(node: Node, builder: str, steps: str, timeout: float = 120) -> str:
    """Build these steps on busybox, for the cache alone."""
    options = () if builder == "buildkitd" else ("--output=type=cacheonly",)
    return node.build(builder, f"FROM busybox\n{steps}\n", options=options, timeout=timeout)


def on_all(farm: Farm, places: Places, work: Any) -> list[Any]:
    """Call ``work(node, builder)`` for every place at once; the results in their order."""
    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(lambda place: work(farm[place[0]], place[1]), places))


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a cache, as the builder's own tool lists it."""

    id: str
    size: int
    created: str
    shared: bool


def records(node: Node, builder: str) -> dict[str, Record]:
    """A builder's cache by the IDs of its records; of an Engine's own by its API, to the byte."""
    if builder == "docker":
        rows = node.truth.system_df()["BuildCache"] or []
    else:
        rows = node.truth.cache(builder)
    found = []
    for row in rows:
        raw = {key.lower(): value for key, value in row.items()}
        shared = bool(raw.get("shared", False))
        found.append(Record(raw["id"], raw["size"], raw["createdat"], shared))
    return {record.id: record for record in found}


def own(found: Iterable[Record]) -> int:
    """Bytes of the records that no image shares."""
    return sum(record.size for record in found if not record.shared)


def config(
    farm: Farm, settings: Mapping[tuple[str, str], Mapping[str, Any]], **sections: Any
) -> dict[str, Any]:
    """A configuration that prunes these builders, each by settings of its own."""
    result = farm.config(*dict.fromkeys(name for name, _ in settings), collect=QUICK, **sections)
    for (name, builder), prune in settings.items():
        (entry,) = (node for node in result["nodes"] if node["name"] == name)
        entry["builders"] = [builder]
        entry["prune"] = {"cooldown": "1h", **prune}
    return result


def ended(daemon: Daemon, number: int, timeout: float = 120) -> list[dict[str, Any]]:
    """Wait until so many prunes ended; all of them, the first one first."""
    found: list[dict[str, Any]] = []

    def enough(_: object) -> bool:
        found[:] = daemon.json("/api/v1/prunes")["prunes"]
        return sum(prune["finished_at"] is not None for prune in found) >= number

    daemon.wait(f"{number} prunes", enough, timeout=timeout)
    return sorted(found, key=lambda prune: prune["started_at"])


def decision(daemon: Daemon, node: str) -> dict[str, Any]:
    """What is decided on the one selected builder of a node now."""
    found = daemon.json(f"/api/v1/prunes?node={node}")["decisions"]
    if len(found) != 1:
        raise FarmError(f"not one decision on {node}: {found}")
    only: dict[str, Any] = found[0]
    return only
