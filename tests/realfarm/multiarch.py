"""Canary builds over several nodes: the builder that they use, and what the nodes say of them."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.actions.multiarch import run_multiarch
from exporter.canaries import CanaryTrigger, MultiarchRecord
from exporter.dockercli import DockerCli
from exporter.model import MultiarchSettings
from tests.realfarm.client import Client
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import run

AMD64, ARM64 = "linux/amd64", "linux/arm64"
BOTH = f"{AMD64},{ARM64}"
PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Whole:
    """A builder of several of the farm's nodes, in a buildx store of its own."""

    client: Client
    env: dict[str, str]
    settings: MultiarchSettings

    @property
    def docker(self) -> DockerCli:
        """The command line as this store's user has it."""
        return DockerCli(self.env)

    @property
    def store(self) -> dict[str, bytes]:
        """All files of the store."""
        root = Path(self.env["BUILDX_CONFIG"])
        return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def canary(self, docker: DockerCli | None = None, **changes: Any) -> MultiarchRecord:
        """Run one canary."""
        return asyncio.run(self.running(docker, **changes))

    async def running(self, docker: DockerCli | None = None, **changes: Any) -> MultiarchRecord:
        """The same, to be awaited."""
        return await run_multiarch(
            replace(self.settings, **changes),
            trigger=CanaryTrigger.MANUAL,
            now=time.time,
            docker=docker or self.docker,
        )


def made(farm: Farm, folder: Path, platforms: Mapping[str, str]) -> Whole:
    """Make a builder: by node the platforms that it is to be made for."""
    name = "whole"
    env = farm.client.env | {"BUILDX_CONFIG": str(folder)}
    for number, (node_name, wanted) in enumerate(platforms.items()):
        node = farm[node_name]
        stored = json.loads(_stored(farm, node).read_text())["Nodes"][0]
        argv = ["docker", "buildx", "create", "--name", name, "--driver", "docker-container"]
        argv += ["--append"] if number else []
        argv += ["--node", str(node.spec.container), *([f"--platform={wanted}"] * bool(wanted))]
        argv += [f"--buildkitd-config={farm.client.home / str(node.spec.builder)}.toml"]
        run([*argv, stored["Endpoint"]], env=env, timeout=PATIENCE)
    settings = MultiarchSettings(
        builder=name,
        push=f"{farm.registry_address}/canary:latest",
        cache=f"{farm.registry_address}/canary:buildcache",
        schedule=None,
        every=3600.0,
        base_image="docker.io/library/busybox:stable",
        timeout=PATIENCE,
    )
    return Whole(farm.client, env, settings)


def _stored(farm: Farm, node: Node) -> Path:
    return Path(farm.client.env["BUILDX_CONFIG"]) / "instances" / str(node.spec.builder)


@contextmanager
def emulating(farm: Farm, *names: str) -> Iterator[None]:
    """Nodes whose builders know that they run arm64, too; afterwards they don't any more."""

    def anew() -> None:
        # A builder looks again only after 20 s, and never forgets.
        for name in names:
            farm[name].run(["docker", "restart", farm[name].container_name])
            farm[name].boot_builder()

    try:
        with farm.emulated_arm64():
            anew()
            yield
    finally:
        anew()


def index(farm: Farm) -> dict[str, str]:
    """What the registry has: by platform, the digest of the image."""
    request = urllib.request.Request(f"http://{farm.registry_address}/v2/canary/manifests/latest")
    request.add_header("Accept", "application/vnd.oci.image.index.v1+json")
    with urllib.request.urlopen(request) as answer:
        manifests = json.load(answer)["manifests"]
    return {
        f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
        for entry in manifests
    }


def builds(node: Node, canary: str) -> list[dict[str, Any]]:
    """What a node's builder has of this canary in its history."""
    inside = ["docker", "exec", node.container_name, "buildctl", "debug", "histories"]
    said = node.run([*inside, "--format", "{{json .}}"]).stdout
    records = [json.loads(line)["record"] for line in said.splitlines() if line.strip()]
    argument = "build-arg:BUILDFARM_CANARY"
    return [one for one in records if (one.get("FrontendAttrs") or {}).get(argument) == canary]


def sources(node: Node) -> int:
    """How many copies of what it was sent a node keeps."""
    records = node.truth.cache(str(node.spec.container))
    return sum(record["recordType"] == "source.local" for record in records)
