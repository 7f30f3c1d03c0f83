"""What goes wrong on real nodes: named rightly and soon, kept to its node, and over afterwards.

One exporter lives through all of it, with keys that allow no more than they must.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.realfarm import breaking
from tests.realfarm.breaking import Fault
from tests.realfarm.daemon import Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.watching import (
    Failure,
    exporter_for_all,
    failure,
    looks_until,
    wait_all_fresh,
)

LAYERS = ("transport", "engine", "buildkit")
COLLECT = {
    **dict.fromkeys(("reachability", "disk", "cache", "workers", "orphans"), "1s"),
    "timeout": "2s",
}

BACKOFF = 4
"""A node that was unreachable is tried again after so many looks at the latest."""


@dataclass(frozen=True)
class Row:
    """A fault of a node, and how it must be told."""

    name: str
    node: str
    fault: Fault
    told: Failure
    restarts: bool = False
    """The node is gone for a moment before it is as the row says: see ``BACKOFF``."""


TRANSPORT, ENGINE, BUILDKIT = LAYERS
ROWS = [
    Row("sshd stopped", "old", breaking.sshd_stopped, (TRANSPORT, "refused")),
    Row("key not accepted", "new", breaking.key_not_accepted, (TRANSPORT, "auth")),
    Row("host key changed", "old", breaking.host_key_changed, (TRANSPORT, "host_key")),
    Row("name does not resolve", "new", breaking.name_gone, (TRANSPORT, "dns")),
    Row("port 22 closed", "new", lambda f, n: n.network.closed(22), (TRANSPORT, "refused")),
    Row("port 2376 closed", "tls", lambda f, n: n.network.closed(2376), (TRANSPORT, "refused")),
    Row("ssh silent", "old", lambda f, n: n.network.silent(), (TRANSPORT, "timeout")),
    Row("tls silent", "tls", lambda f, n: n.network.silent(), (TRANSPORT, "timeout")),
    Row("buildkitd silent", "kitd", lambda f, n: n.network.silent(), (TRANSPORT, "timeout")),
    Row("unplugged", "new", lambda f, n: n.network.unplugged(), (TRANSPORT, "timeout")),
    Row("socket not ours", "old", breaking.socket_closed, (ENGINE, "permission")),
    Row("no right to the socket", "old", breaking.not_in_group, (ENGINE, "permission")),
    Row("no forwarding", "new", breaking.no_forwarding, (ENGINE, "forwarding")),
    Row("Docker stopped, ssh", "old", lambda f, n: n.engine.stopped(), (ENGINE, "engine")),
    Row("Docker stopped, tls", "tls", lambda f, n: n.engine.stopped(), (TRANSPORT, "refused")),
    Row("Docker stopped, unix", "local", lambda f, n: n.engine.stopped(), (ENGINE, "engine")),
    Row("Docker hung, ssh", "new", lambda f, n: n.engine.paused(), (ENGINE, "timeout")),
    Row("Docker hung, tls", "tls", lambda f, n: n.engine.paused(), (ENGINE, "timeout")),
    Row("Docker hung, unix", "local", lambda f, n: n.engine.paused(), (ENGINE, "timeout")),
    Row("builder removed", "new", lambda f, n: n.builder_removed(), (BUILDKIT, "buildkit")),
    Row("builder stopped", "tls", lambda f, n: n.builder_stopped(), (BUILDKIT, "buildkit")),
    Row("builder hung", "local", breaking.builder_hung, (BUILDKIT, "timeout")),
    Row("buildkitd stopped", "kitd", lambda f, n: n.engine.stopped(), (TRANSPORT, "refused")),
    Row("buildkitd hung", "kitd", lambda f, n: n.engine.paused(), (BUILDKIT, "timeout")),
    Row("certificate expired", "tls", breaking.expired, (TRANSPORT, "tls"), True),
    Row("certificate of another CA", "kitd", breaking.foreign, (TRANSPORT, "tls"), True),
    Row("our certificate refused", "tls", breaking.client_refused, (TRANSPORT, "tls"), True),
    Row("ours refused by buildkitd", "kitd", breaking.client_refused, (TRANSPORT, "tls"), True),
]


@pytest.fixture(scope="module")
def exporter(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An exporter of the whole farm: ``old`` as a user of the group docker, ``new`` by a name."""
    folder = tmp_path_factory.mktemp("exporter")
    with exporter_for_all(farm, folder, _config(farm)) as daemon:
        wait_all_fresh(daemon, farm.nodes)
        yield daemon


def _config(farm: Farm) -> dict[str, Any]:
    config = farm.config(key="restricted", collect=COLLECT)
    by_name = {node["name"]: node for node in config["nodes"]}
    by_name["old"]["endpoint"] = f"ssh://builder@{farm['old'].address}"
    by_name["new"]["endpoint"] = "ssh://root@new.farm"
    config["ssh"]["connect_timeout"] = "2s"
    config["ssh"]["config_files"] = [str(breaking.name_node(farm, farm["new"]))]
    return config


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_fault(farm: Farm, exporter: Daemon, row: Row) -> None:
    """The fault is told within two looks, other nodes stay fresh, and all recover by itself."""
    before = exporter.scrape()
    # A node that an earlier test could not bring back has been told of there.
    well = {name for name in farm.nodes if failure(before, name) is None}
    assert row.node in well
    fault: AbstractContextManager[None] = row.fault(farm, farm[row.node])
    with fault:
        begun = time.time()
        looks = looks_until(
            exporter, row.node, begun, str(row.told), lambda look: look.failure == row.told
        )
        assert len(looks) <= (2 + BACKOFF if row.restarts else 2), looks
        scrape = wait_all_fresh(exporter, well - {row.node}, begun)
        assert failure(scrape, row.node) == row.told
        _layers_are_right(farm, scrape, row)
        _last_values_are_kept(before, scrape, row.node)
    wait_all_fresh(exporter, well)


def _layers_are_right(farm: Farm, scrape: Scrape, row: Row) -> None:
    """The layers below the failing one are up, it and all above it are not."""
    engine = farm[row.node].spec.engine == "dockerd"
    layers = [layer for layer in LAYERS if engine or layer != ENGINE]
    failed = LAYERS.index(row.told[0])
    assert {
        dict(labels)["layer"]: up
        for labels, up in scrape.all("buildfarm_node_layer_up", node=row.node).items()
    } == {layer: LAYERS.index(layer) < failed for layer in layers}


def _last_values_are_kept(before: Scrape, now: Scrape, node: str) -> None:
    """What was known of the failing node is still served."""
    for name in ("disk_size_bytes", "cache_reclaimable_bytes", "builder_info", "node_info"):
        known = before.all(f"buildfarm_{name}", node=node)
        assert known.keys() == now.all(f"buildfarm_{name}", node=node).keys(), name
