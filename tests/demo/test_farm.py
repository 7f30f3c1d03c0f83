"""The farm as a whole: raised, watched by the daemon, and taken down without a trace."""

from __future__ import annotations

import asyncio
import gc
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from exporter.app import look_once
from exporter.config.load import load
from exporter.demo.farm import DemoFarm
from exporter.demo.tasks import Tasks
from exporter.model import NodeSpec, SshEndpoint, TcpEndpoint

PATIENCE = 90.0


def ports(specs: tuple[NodeSpec, ...]) -> list[int]:
    found = []
    for spec in specs:
        assert isinstance(spec.endpoint, SshEndpoint | TcpEndpoint)
        assert spec.endpoint.port is not None
        found.append(spec.endpoint.port)
    return found


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_nothing_is_left_of_a_farm_that_was_in_use() -> None:
    """Looks are under way, one node is silent and one refuses when the farm ends."""
    before = asyncio.all_tasks()
    files = open_files()
    async with DemoFarm(7, rng=Random(1), clock=time.time) as farm:
        specs = farm.specs
        assert isinstance(specs[0].endpoint, SshEndpoint)
        directory = specs[0].endpoint.identity_files[0].parent
        await asyncio.gather(*(look_once(spec) for spec in specs))
        farm["amd64-2"].silence()
        farm["kitd-1"].refuse()
        farm["arm64-2"].hang()
        looks = [asyncio.create_task(look_once(spec)) for spec in specs]
        await asyncio.sleep(0.2)
    for look in looks:
        look.cancel()
    await asyncio.wait(looks)
    assert asyncio.all_tasks() - before == set()
    assert not directory.exists()
    for port in ports(specs):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
    gc.collect()  # sockets that nobody closed warn, and warnings are errors
    assert open_files() <= files + 1


async def test_every_task_of_the_farm_has_its_name() -> None:
    before = asyncio.all_tasks()
    async with DemoFarm(2, rng=Random(1), clock=time.time):
        names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert names == {"demo/story"}


async def test_a_failure_inside_the_simulation_is_told_at_the_end() -> None:
    async def fail() -> None:
        raise LookupError("no such record")

    tasks = Tasks()
    await asyncio.wait([tasks.start(fail(), name="fails")])
    with pytest.raises(ExceptionGroup) as caught:
        await tasks.stop()
    assert caught.group_contains(LookupError)


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_farm_in_a_process_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "farm.yml"
    arguments = ("-m", "exporter.demo", "--nodes", "9", "--seed", "3", "--config-out", str(config))
    async with asyncio.timeout(PATIENCE), running(*arguments) as process:
        assert process.stdout is not None
        assert b"9 simulated nodes are up" in await process.stdout.readline()
        nodes = load(config, environ={}).nodes
        snapshots = await asyncio.gather(*(look_once(node) for node in nodes))
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
    assert len(nodes) == 9
    for snapshot in snapshots:
        assert {name: s.error for name, s in snapshot.collectors.items() if s.error} == {}


def sample(page: str, name: str) -> dict[str, float]:
    """The values of a metric by node."""
    found = re.findall(rf'^{name}{{node="([^"]+)"[^}}]*}} (\S+)$', page, re.MULTILINE)
    return {node: float(value) for node, value in found}


async def test_the_command_demo_serves_metrics_and_ends_on_sigterm() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = f"127.0.0.1:{port}"
    arguments = ("-m", "exporter", "demo", "--web.listen-address", listen)

    def page() -> str:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    async with asyncio.timeout(PATIENCE), running(*arguments) as process:
        up: dict[str, float] = {}
        while len(up) < 6 or not all(up.values()):
            assert process.returncode is None
            await asyncio.sleep(0.1)
            try:
                up = sample(await asyncio.to_thread(page), "buildfarm_node_up")
            except OSError:
                continue
        free_before = sample(await asyncio.to_thread(page), "buildfarm_disk_available_bytes")
        free_now = free_before
        while free_now.get("amd64-1") == free_before.get("amd64-1"):
            await asyncio.sleep(0.5)
            free_now = sample(await asyncio.to_thread(page), "buildfarm_disk_available_bytes")
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"Demo farm: 6 simulated nodes" in errors
    assert b"Traceback" not in errors
