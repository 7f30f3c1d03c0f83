"""What the tests of one canary build share: builds, caches to the byte, and nodes made slow."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import yaml

from exporter.actions.canary import CanaryProgress, CanaryResult, run_canary
from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.canaries import CANARY_PREFIX
from exporter.config.load import load
from exporter.model import Builder, CanarySettings
from exporter.transports import open_transport
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.pruning import MIB, Places

T = TypeVar("T")

KINDS: Places = (("old", "docker"), ("new", "docker"), ("new", "farm0"), ("kitd", "buildkitd"))
"""One of each kind of builder: Engine 20.10, Engine 26.1, container, bare."""

SMALL: dict[str, Any] = {"cpu": 32 * MIB, "disk": 16 * MIB, "timeout": 60}


def canary(
    farm: Farm,
    node: Node,
    builder: str,
    platform: str = "linux/amd64",
    *,
    on_progress: Callable[[CanaryProgress], None] = lambda _: None,
    **settings: Any,
) -> CanaryResult:
    """One canary build, with a small workload if nothing else is said."""
    wanted = CanarySettings(**SMALL | settings)

    async def build(client: NodeClient, found: Builder) -> CanaryResult:
        return await run_canary(client, found, platform, wanted, on_progress)

    return asyncio.run(_connected(_config(farm, node), farm.client.env, builder, build))


def remove(farm: Farm, node: Node, builder: str, *ids: str) -> set[str]:
    """Remove these records; which went."""

    async def ask(client: NodeClient, found: Builder) -> set[str]:
        control: Control = client.control(found)
        return await control.remove(ids)

    return asyncio.run(_connected(_config(farm, node), farm.client.env, builder, ask))


@contextmanager
def endless_canary(farm: Farm, node: Node, builder: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that builds a canary without end inside, over a connection of its own."""
    argv = [sys.executable, "-m", __name__, str(_config(farm, node)), builder]
    with subprocess.Popen(argv, env=os.environ | farm.client.env, stdin=subprocess.DEVNULL) as one:
        try:
            yield one
        finally:
            one.kill()


def _config(farm: Farm, node: Node) -> Path:
    file = Path(farm.client.home, f"canary-{node.name}.yml")
    file.write_text(yaml.safe_dump(farm.config(node.name)))
    return file


async def _connected(
    config: Path,
    environ: Mapping[str, str],
    builder: str,
    work: Callable[[NodeClient, Builder], Awaitable[T]],
) -> T:
    (spec,) = load(config, environ=environ).nodes
    client = NodeClient(spec, open_transport(spec, Random(0)))
    try:
        (found,) = (b for b in await client.builders() if b.name == builder)
        return await work(client, found)
    finally:
        await client.close()


def cache(node: Node, builder: str) -> dict[str, int]:
    """A builder's records and their sizes, as its own tool lists them."""
    rows = [{k.lower(): v for k, v in row.items()} for row in node.truth.cache(builder)]
    return {row["id"]: _bytes(row["size"]) for row in rows}


def history(farm: Farm, node: Node, builder: str) -> list[str]:
    """The references of the builds that ``docker buildx history ls`` tells of."""
    argv = ["history", "ls", "--format", "json", "--builder"]
    if builder == "docker":
        said = node.run(["buildx", *argv, "default"]).stdout
    else:
        said = farm.client.docker("buildx", *argv, str(node.spec.builder))
    return [json.loads(line)["ref"].rpartition("/")[2] for line in said.splitlines()]


def images(node: Node) -> set[str]:
    """The IDs of an Engine's images, those without a name too; none where there is no Engine."""
    if node.spec.engine != "dockerd":
        return set()
    return {row["Id"] for row in node.truth.engine("GET", "/images/json?all=1")}


def processes(node: Node) -> str:
    """What runs on a node of canaries."""
    return node.run(["pgrep", "--full", "--list-full", CANARY_PREFIX], check=False).stdout


@contextmanager
def slow_cpu(node: Node, percent: int) -> Iterator[None]:
    """Give what builds on the node so much of one CPU inside."""
    group = Path("/sys/fs/cgroup/cpu", node.slot.name(node.name))
    period = int((group / "cpu.cfs_period_us").read_text())
    quota = group / "cpu.cfs_quota_us"
    quota.write_text(str(period * percent // 100))
    try:
        yield
    finally:
        quota.write_text("-1")


@contextmanager
def stalling_disk(node: Node, seconds: float) -> Iterator[Callable[[], None]]:
    """Give a function that lets nothing be written to the node's disk for so long, once."""
    threads: list[threading.Thread] = []

    def stall() -> None:
        node.run(["fsfreeze", "--freeze", node.root])
        threading.Event().wait(seconds)
        node.run(["fsfreeze", "--unfreeze", node.root])

    def start() -> None:
        if not threads:
            threads.append(threading.Thread(target=stall, name="stall"))
            threads[0].start()

    try:
        yield start
    finally:
        for thread in threads:
            thread.join()


def _bytes(size: int | str) -> int:
    """``buildx du`` writes sizes for people, ``buildctl du`` as numbers."""
    if isinstance(size, int):
        return size
    for unit, factor in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("B", 1)):
        if size.endswith(unit):
            return round(float(size.removesuffix(unit)) * factor)
    raise ValueError(size)


if __name__ == "__main__":

    async def _endless(client: NodeClient, found: Builder) -> CanaryResult:
        settings = CanarySettings(cpu=900 << 30, timeout=600)
        return await run_canary(client, found, "linux/amd64", settings)

    asyncio.run(_connected(Path(sys.argv[1]), os.environ, sys.argv[2], _endless))
