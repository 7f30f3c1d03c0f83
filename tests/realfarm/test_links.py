"""Bad lines: slow and lossy ones slow a node's data down, and lose none of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.watching import looks_until, wait_all_fresh

COLLECT = {"reachability": "1s", "disk": "1s", "cache": "1s", "workers": "2s", "orphans": "2s"}
LOOKS = 3


@pytest.mark.parametrize("name", ["new", "kitd"])
@pytest.mark.parametrize(
    ("fault", "builds"),
    [
        # The history of all builds that other tests ran is too long for this line.
        (lambda node: node.network.slow("128kbit"), False),
        (lambda node: node.network.lossy(5), True),
    ],
    ids=["slow", "lossy"],
)
def test_bad_line(
    farm: Farm,
    daemon: Callable[..., Daemon],
    name: str,
    fault: Callable[[Node], AbstractContextManager[None]],
    builds: bool,
) -> None:
    """The node is connected to, stays up and is known wholly, over a line that barely works."""
    with fault(farm[name]):
        exporter = daemon(farm.config(name, collect={**COLLECT, "builds": builds}))
        wait_all_fresh(exporter, [name])
        begun = time.time()
        looks = looks_until(
            exporter, name, begun, "some looks", lambda look: look.begun > begun + LOOKS
        )
        assert not any(look.failure for look in looks)
        scrape = exporter.scrape()
        assert all(scrape.all("buildfarm_collector_success").values())
        assert not any(scrape.all("buildfarm_collector_timeouts_total").values())
        if farm[name].spec.ssh:
            assert scrape.value("buildfarm_node_connects_total", node=name) == 1
