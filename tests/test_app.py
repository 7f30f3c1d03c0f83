"""The whole daemon in this process, over simulated nodes on real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random

import aiohttp
import pytest
from structlog.testing import capture_logs

from exporter.app import Plan, _site, look_once, serve
from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.farm import DemoFarm
from exporter.demo.node import SimulatedNode
from exporter.errors import Layer
from exporter.model import CollectSettings, NodeSpec

QUICK = CollectSettings(
    reachability=0.3, disk=0.3, cache=0.3, workers=0.3, orphans=0.3, timeout=1.0
)
PATIENCE = 60.0


@dataclass
class Served:
    """A running daemon."""

    url: str
    session: aiohttp.ClientSession

    async def status(self, path: str) -> int:
        async with self.session.get(self.url + path) as response:
            return response.status

    async def value(self, series: str) -> float | None:
        """The value of one series as it is written on the page."""
        async with self.session.get(f"{self.url}/metrics") as response:
            page = await response.text()
        found = re.search(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else None

    async def until(self, what: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not await what():
                await asyncio.sleep(0.05)

    async def sees(self, series: str, value: float | None = 1) -> None:
        """Wait until a series has the value; ``None``: until it is gone."""

        async def so() -> bool:
            return await self.value(series) == value

        await self.until(so)

    async def age(self, node: str, collector: str) -> float:
        """Seconds since a collection last went well."""
        name = "buildfarm_collector_last_success_timestamp_seconds"
        at = await self.value(f'{name}{{node="{node}",collector="{collector}"}}')
        return float("inf") if at is None else time.time() - at


def quick(*nodes: SimulatedNode) -> tuple[NodeSpec, ...]:
    return tuple(replace(node.spec, collect=QUICK) for node in nodes)


@asynccontextmanager
async def watching(
    *nodes: NodeSpec, storage: str = "sqlite:////dev/null/can-not-be-opened.db"
) -> AsyncIterator[Served]:
    """Run the daemon over these nodes; it must end by itself when told to."""
    stop = asyncio.Event()
    with capture_logs() as logs:
        task = asyncio.create_task(serve(Plan(nodes, storage), "127.0.0.1", 0, stop))
        try:
            async with asyncio.timeout(PATIENCE):
                while not (urls := [e["url"] for e in logs if e["event"] == "listening"]):
                    await asyncio.sleep(0.01)
            async with aiohttp.ClientSession() as session:
                yield Served(urls[0], session)
        finally:
            stop.set()
            async with asyncio.timeout(PATIENCE):
                await task


@pytest.fixture
async def farm() -> AsyncIterator[DemoFarm]:
    async with DemoFarm(4, rng=Random(5), clock=time.time, story=False) as farm:
        yield farm


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    plan = BuilderPlan("farm0", records=5)
    async with SimulatedNode(
        Blueprint("amd64-1", builders=(plan,)), rng=Random(1), clock=time.time
    ) as node:
        yield node


def up(node: str) -> str:
    return f'buildfarm_node_up{{node="{node}"}}'


async def test_it_is_ready_when_it_has_seen_each_node_even_one_that_hangs(farm: DemoFarm) -> None:
    farm["amd64-2"].hang()
    async with watching(*quick(*farm.nodes)) as served:

        async def ready() -> bool:
            return await served.status("/-/ready") == 200

        await served.until(ready)
        for name in ("amd64-1", "arm64-1", "arm64-2"):
            assert await served.value(up(name)) == 1
        assert await served.value(up("amd64-2")) == 0


@pytest.mark.parametrize(
    ("fault", "layer", "reason"),
    [
        (SimulatedNode.silence, "transport", "timeout"),
        (SimulatedNode.refuse, "transport", "refused"),
        (SimulatedNode.hang, "engine", "timeout"),
        (SimulatedNode.stop_daemon, "engine", "engine"),
    ],
)
async def test_one_node_s_trouble_is_its_own_and_passes(
    farm: DemoFarm, fault: Callable[[SimulatedNode], None], layer: str, reason: str
) -> None:
    async with watching(*quick(*farm.nodes)) as served:
        for node in farm.nodes:
            await served.sees(up(node.blueprint.name))
        sick = farm["amd64-2"]
        fault(sick)
        labels = f'node="amd64-2",layer="{layer}",reason="{reason}"'
        await served.sees(f"buildfarm_node_failure{{{labels}}}")
        assert await served.value(up("amd64-2")) == 0
        began = time.time()

        async def others_were_looked_at_again() -> bool:
            ages = [
                await served.age(name, collector)
                for name in ("amd64-1", "arm64-1", "arm64-2")
                for collector in ("disk", "cache", "workers")
            ]
            return max(ages) < time.time() - began

        await served.until(others_were_looked_at_again)
        assert await served.value(up("amd64-2")) == 0
        await sick.restore()
        await served.sees(up("amd64-2"))
        await served.sees(f"buildfarm_node_failure{{{labels}}}", None)
        await served.sees('buildfarm_collector_success{node="amd64-2",collector="cache"}')


async def test_what_was_known_is_kept_while_a_node_is_away(node: SimulatedNode) -> None:
    size = 'buildfarm_cache_reclaimable_bytes{node="amd64-1",builder="farm0"}'
    async with watching(*quick(node)) as served:
        await served.sees(size, node.machine.builders["farm0"].cache.size)
        node.refuse()
        await served.sees(up("amd64-1"), 0)
        await served.sees('buildfarm_collector_success{node="amd64-1",collector="cache"}', 0)
        assert await served.value(size) == node.machine.builders["farm0"].cache.size


async def test_builders_come_and_go(node: SimulatedNode) -> None:
    def cache(builder: str) -> str:
        return f'buildfarm_cache_reclaimable_bytes{{node="amd64-1",builder="{builder}"}}'

    orphans = 'buildfarm_orphaned_state_volumes{node="amd64-1"}'
    async with watching(*quick(node)) as served:
        await served.sees(cache("farm0"), node.machine.builders["farm0"].cache.size)
        await served.sees(orphans, 0)
        new = node.machine.add_builder(BuilderPlan("farm1", records=3))
        await served.sees(cache("farm1"), new.cache.size)
        node.machine.remove_builder("farm1")
        await served.sees(cache("farm1"), None)
        await served.sees(up("amd64-1"))
        node.machine.remove_builder("farm0", keep_volume=True)
        failure = 'buildfarm_node_failure{node="amd64-1",layer="buildkit",reason="buildkit"}'
        await served.sees(failure)
        await served.sees(orphans, 1)


async def test_it_ends_although_nodes_hang(farm: DemoFarm) -> None:
    async with watching(*quick(*farm.nodes)) as served:
        await served.sees(up("amd64-1"))
        farm["amd64-1"].silence()
        farm["amd64-2"].hang()
        await served.sees(up("amd64-1"), 0)


async def test_a_port_in_use_is_told_before_anything_starts(node: SimulatedNode) -> None:
    async with watching() as served:
        port = int(served.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            await serve(Plan(quick(node), ""), "127.0.0.1", port, asyncio.Event())


@pytest.mark.parametrize(
    ("fault", "layer"),
    [(SimulatedNode.hang, Layer.ENGINE), (SimulatedNode.refuse, Layer.TRANSPORT)],
)
async def test_one_look_tries_nothing_else_where_no_daemon_answers(
    node: SimulatedNode, fault: Callable[[SimulatedNode], None], layer: Layer
) -> None:
    fault(node)
    (spec,) = quick(node)
    snapshot = await look_once(spec)
    assert snapshot.reachability is not None
    assert snapshot.reachability.value.failure is not None
    assert snapshot.reachability.value.failure.layer is layer
    assert list(snapshot.collectors) == ["reachability"]


async def test_one_look_at_a_node_with_a_failing_builder_tells_the_rest(
    node: SimulatedNode,
) -> None:
    node.machine.builders["farm0"].running = False
    (spec,) = quick(node)
    snapshot = await look_once(spec)
    assert snapshot.disk is not None
    assert snapshot.cache is not None
    assert [cache.builder for cache in snapshot.cache.value] == ["docker"]


@pytest.mark.parametrize(
    ("host", "site"),
    [
        (None, f"http://{socket.gethostname()}:1"),
        ("0.0.0.0", f"http://{socket.gethostname()}:1"),
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
    ],
)
def test_alerts_link_to_where_it_listens(host: str | None, site: str) -> None:
    assert _site(host, 1) == site
