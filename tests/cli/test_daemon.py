"""The daemon as a process: how it starts, what it logs, how it ends."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest

from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.node import SimulatedNode
from tests.cli.command import command, config_for, daemon

# Each name that is asked for costs a thread, for ten minutes.
DEAD_RESOLVER = """
import socket, sys, time
from exporter.cli import main

socket.getaddrinfo = lambda *_, **__: time.sleep(600)
main(sys.argv[1:])
"""


@pytest.fixture
async def node() -> AsyncIterator[SimulatedNode]:
    plan = BuilderPlan("farm0", records=5)
    async with SimulatedNode(
        Blueprint("amd64-1", builders=(plan,)), rng=Random(1), clock=time.time
    ) as node:
        yield node


def healthy(node: SimulatedNode) -> None:
    del node


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("fault", [healthy, SimulatedNode.hang, SimulatedNode.silence])
async def test_a_signal_ends_it_whatever_the_nodes_do(
    node: SimulatedNode,
    tmp_path: Path,
    fault: Callable[[SimulatedNode], None],
    number: signal.Signals,
) -> None:
    async with daemon("--config", config_for(node, path=tmp_path / "farm.yml")) as running:
        await running.logged("node is up")
        fault(node)
        if fault is not healthy:
            await running.logged("node is down")
        assert await running.end(number) == 0
    assert [event["event"] for event in running.events][-2:] == ["stopping", "stopped"]


async def test_a_resolver_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    config = tmp_path / "farm.yml"
    config.write_text(
        "nodes: [{endpoint: 'tcp://node.example.com:1234', driver: remote, tls: false}]\n"
        "collect: {timeout: 1s, reachability: 1s}\n"
    )
    async with daemon("--config", str(config), program=("-c", DEAD_RESOLVER)) as running:
        await running.logged("node is down")
        assert await running.end() == 0


async def test_what_it_serves_it_has_seen(node: SimulatedNode, tmp_path: Path) -> None:
    config = config_for(node, path=tmp_path / "farm.yml")
    async with daemon("--config", config) as running, aiohttp.ClientSession() as session:
        listening = await running.logged("listening")
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", listening)
        await running.logged("(?=.*builder found)(?=.*farm0)")
        await running.logged("node is up")
        async with session.get(f"{url}/metrics") as response:
            page = await response.text()
        assert await running.end() == 0
    assert 'buildfarm_node_up{node="amd64-1"} 1\n' in page
    assert 'buildfarm_builder_info{node="amd64-1",builder="farm0"' in page


async def test_the_log_is_json_with_the_node_and_the_builder(
    node: SimulatedNode, tmp_path: Path
) -> None:
    async with daemon("--config", config_for(node, path=tmp_path / "farm.yml")) as running:
        await running.logged("(?=.*builder found)(?=.*farm0)")
        await running.logged("node is up")
        await running.end()
    up = next(event for event in running.events if event["event"] == "node is up")
    assert (up["level"], up["node"]) == ("info", "amd64-1")
    assert up["timestamp"].endswith("Z")
    found = [e for e in running.events if e["event"] == "builder found"]
    assert {(e["node"], e["builder"]) for e in found} == {
        ("amd64-1", "docker"),
        ("amd64-1", "farm0"),
    }


async def test_no_secret_is_ever_logged(node: SimulatedNode, tmp_path: Path) -> None:
    more = "storage: {url: 'postgresql://me:geheim@db.example.com/farm'}\n"
    config = Path(config_for(node, path=tmp_path / "farm.yml", more=more))
    config.write_text(config.read_text().replace("ssh:\n", "ssh:\n  passphrase: geheim\n"))
    async with daemon("--config", str(config), "--log.level=debug") as running:
        await running.logged("node is up")
        node.silence()
        await running.logged("node is down")
        await running.end()
    log = "\n".join(running.log)
    assert "geheim" not in log
    assert "identity" not in log


@pytest.mark.parametrize(("level", "there"), [("info", True), ("warning", False)])
async def test_the_level_counts(
    node: SimulatedNode, tmp_path: Path, level: str, there: bool
) -> None:
    config = config_for(node, path=tmp_path / "farm.yml", more=f"log: {{level: {level}}}\n")
    async with daemon("--config", config) as running:
        if there:
            await running.logged("node is up")
        node.refuse()
        await running.logged("node is down")
        await running.end()
    assert any("node is up" in line for line in running.log) is there


async def test_a_port_in_use(node: SimulatedNode, tmp_path: Path) -> None:
    config = config_for(node, path=tmp_path / "farm.yml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = await command("--config", config, f"--web.listen-address={address}")
    assert done.code == 1
    assert "can't listen; choose another --web.listen-address" in done.err
    assert address in done.err
    assert '"error": "Address already in use"' in done.err
    assert "Traceback" not in done.err


async def test_mistakes_in_the_configuration_start_nothing(tmp_path: Path) -> None:
    config = tmp_path / "farm.yml"
    config.write_text("nodes: [{endpoint: 'ssh://a', speed: 5}]\nlog: {level: loud}\n")
    done = await command("--config", str(config))
    assert done.code == 2
    first, second, last = done.err.splitlines()
    assert first.startswith(f"{config}:1: ")
    assert second.startswith(f"{config}:2: ")
    assert last == "2 problems; nothing was started."


async def test_nothing_to_watch(private_home: Path) -> None:
    done = await command(DOCKER_HOST=f"unix://{private_home}/none.sock")
    assert done.code == 2
    assert f"note: left out unix://{private_home}/none.sock: there is no socket" in done.err
    assert "No node to watch: there is none in the current buildx builder" in done.err
    assert "buildfarm-exporter demo" in done.err


@pytest.mark.parametrize(
    ("listen", "site"),
    [(":0", "localhost:0"), ("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")],
)
async def test_the_demo_says_where_to_look(listen: str, site: str) -> None:
    no_docker = "unix:///nonexistent/docker.sock"
    async with daemon("--or-demo", f"--web.listen-address={listen}", DOCKER_HOST=no_docker) as demo:
        await demo.logged(
            rf"Look at http://{re.escape(site)}/ and http://{re.escape(site)}/metrics\."
        )


async def test_the_demo_says_what_it_is_and_ends() -> None:
    async with daemon(
        "--or-demo", "--log.format=json", DOCKER_HOST="unix:///nonexistent/docker.sock"
    ) as running:
        await running.logged("DEMO farm")
        await running.logged("node is up")
        assert await running.end() == 0
