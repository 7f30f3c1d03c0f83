"""What the exporter says: compared with what is so, and followed look by look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.realfarm.daemon import Daemon, Scrape, running
from tests.realfarm.farm import Farm
from tests.realfarm.shell import wait_for

T = TypeVar("T")

LAST_SUCCESS = "buildfarm_collector_last_success_timestamp_seconds"
Failure = tuple[str, str]
"""Layer and reason."""


def agree(
    daemon: Daemon,
    served: Callable[[Scrape], T],
    told: Callable[[], T],
    *,
    also: Callable[[T], object] = lambda _: True,
    timeout: float = 40,
) -> T:
    """Wait until what is served is what the node tells, before and after; return that.

    Where something moved in between one looks again. ``also`` must be true of it.

    :raises FarmError: showing both where they stay different.
    """
    last: list[T] = []

    def same() -> bool:
        before, now, after = told(), served(daemon.scrape()), told()
        last[:] = [before, now, after]
        return before == now == after and bool(also(now))

    wait_for(
        "served values to be what the node tells",
        same,
        timeout=timeout,
        every=0.3,
        why=lambda: "    told   {}\n    served {}\n    told   {}".format(*last),
    )
    return last[1]


def failure(scrape: Scrape, node: str) -> Failure | None:
    """Why the node is down; nothing while it is up.

    :raises LookupError: when the metrics contradict each other.
    """
    rows = [dict(labels) for labels in scrape.all("buildfarm_node_failure", node=node)]
    if len(rows) + scrape.value("buildfarm_node_up", node=node) != 1:
        raise LookupError(f"{node}: up and failure contradict each other: {rows}")
    return (rows[0]["layer"], rows[0]["reason"]) if rows else None


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a node's reachability."""

    begun: float
    ended: float
    failure: Failure | None


def looks_until(
    daemon: Daemon,
    node: str,
    since: float,
    what: str,
    holds: Callable[[Look], object],
    *,
    timeout: float = 60,
) -> list[Look]:
    """Follow the looks begun after ``since`` until one ``holds``: all of them up to that one."""
    seen: dict[float, Look] = {}
    labels = {"node": node, "collector": "reachability"}

    def look() -> bool:
        scrape = daemon.scrape()
        ended = scrape.value(LAST_SUCCESS, **labels)
        begun = ended - scrape.value("buildfarm_collector_duration_seconds", **labels)
        if begun > since and ended not in seen:
            seen[ended] = Look(begun, ended, failure(scrape, node))
        return any(holds(look) for look in seen.values())

    wait_for(
        f"{node}: {what}",
        look,
        timeout=timeout,
        why=lambda: "\n".join(map(str, seen.values())) + "\n" + daemon.said(),
    )
    return list(seen.values())


def wait_all_fresh(
    daemon: Daemon, nodes: Iterable[str], since: float | None = None, *, timeout: float = 60
) -> Scrape:
    """Wait until every collection of these nodes, all up, has wholly succeeded since (now)."""
    names, start = set(nodes), time.time() if since is None else since

    def fresh(scrape: Scrape) -> bool:
        times = [
            at for labels, at in scrape.all(LAST_SUCCESS).items() if dict(labels)["node"] in names
        ]
        well = [
            value
            for labels, value in scrape.all("buildfarm_collector_success").items()
            if dict(labels)["node"] in names
        ]
        known = len(times) == len(well) > len(names) and min(times) > start
        return known and all(well) and not any(failure(scrape, name) for name in names)

    return daemon.wait(f"fresh data of {', '.join(sorted(names))}", fresh, timeout=timeout)


@contextmanager
def exporter_for_all(
    farm: Farm, folder: Path, config: Mapping[str, Any], **env: str
) -> Iterator[Daemon]:
    """Run one exporter for all tests of a file: what a test does must not need another start."""
    with running(config, folder, farm.client.env | {"XDG_STATE_HOME": str(folder)} | env) as daemon:
        yield daemon
