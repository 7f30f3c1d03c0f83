"""What the tests of canaries share: settings that are quick, histories, what ran when."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from exporter.canaries import CanaryOutcome, CanaryRecord, CanaryTrigger
from exporter.storage.canaries import CanaryStore
from exporter.storage.database import open_database
from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node

QUICK = {"reachability": "1s", "disk": "1s", "workers": "2s"}
SMALL = {"cpu": "16MiB", "disk": "16MiB"}
ENDLESS = {"cpu": "900GiB", "disk": "1MiB"}
SELECTED = {
    "old": "docker",
    "new": "farm0",
    "tls": "tls0",
    "local": "local0",
    "kitd": "buildkitd",
}
"""The builder of each node that canaries are built on."""


def config(
    farm: Farm, *names: str, canary: Mapping[str, Any], history: Path | None = None
) -> dict[str, Any]:
    """A configuration with canaries; ``history``: the file to keep it in."""
    found = farm.config(*names, collect=QUICK, canary={"workload": SMALL, **canary})
    if history is not None:
        found["storage"] = {"url": f"sqlite:///{history}"}
    return found


def remember(history: Path, name: str, ago: float) -> None:
    """Write down that a canary ran on a node so many seconds ago, and was well."""
    began = time.time() - ago
    record = CanaryRecord(
        id=uuid.uuid4().hex,
        node=name,
        builder=SELECTED[name],
        platform="linux/amd64",
        emulated=False,
        trigger=CanaryTrigger.SCHEDULE,
        outcome=CanaryOutcome.OK,
        started_at=began,
        finished_at=began + 1,
    )

    async def write() -> None:
        async with open_database(f"sqlite:///{history}") as database:
            await CanaryStore(database).save(record)

    asyncio.run(write())


def since(daemon: Daemon, start: float) -> list[dict[str, Any]]:
    """The canaries that began since then, the first one first."""
    found = daemon.json("/api/v1/canaries")["canaries"]
    return sorted((c for c in found if c["started_at"] >= start), key=lambda c: c["started_at"])


def together(canaries: Collection[Mapping[str, Any]]) -> list[list[str]]:
    """Of each canary, the nodes that built one when it began."""
    return [
        [c["node"] for c in canaries if c["started_at"] <= one["started_at"] < c["finished_at"]]
        for one in canaries
    ]


def computing(node: Node) -> bool:
    """Whether a step of a canary runs on the node."""
    listed = node.run(["sh", "-c", "cat /proc/[0-9]*/cmdline"], check=False).stdout
    return "buildfarm-canary-" in listed


def sleeping(node: Node) -> bool:
    """Whether a program ``sleep`` runs on the node."""
    listed = node.run(["sh", "-c", "cat /proc/[0-9]*/comm"], check=False).stdout
    return "sleep" in listed.split()


def offers(node: Node, platform: str) -> bool:
    """Whether the node's builder container has found out that it can build the platform."""
    system, architecture = platform.split("/")
    workers = ["docker", "exec", node.container_name, "buildctl", "debug", "workers"]
    listed = json.loads(node.run([*workers, "--format", "{{json .}}"]).stdout)
    found = {(p["os"], p["architecture"]) for worker in listed for p in worker["platforms"]}
    return (system, architecture) in found
