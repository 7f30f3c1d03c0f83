"""The whole farm: raised at once, taken down whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.realfarm import oci, servers
from tests.realfarm.client import Client
from tests.realfarm.emulation import emulated_arm64
from tests.realfarm.namespace import Machine, make_bridge, make_machine
from tests.realfarm.node import Node
from tests.realfarm.paths import Artifacts
from tests.realfarm.prepare import prepare
from tests.realfarm.service import Service
from tests.realfarm.slots import Slot, hold_slot
from tests.realfarm.specs import HUB, NODES, FarmNode


@dataclass(slots=True)
class Farm:
    """A farm that is up."""

    slot: Slot
    client: Client
    artifacts: Artifacts
    hub: Machine
    registry: Service
    nodes: dict[str, Node] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def registry_address(self) -> str:
        """``HOST:PORT`` of the registry, which every builder uses for Docker Hub as well."""
        return f"{self.hub.address}:{servers.REGISTRY_PORT}"

    def emulated_arm64(self) -> AbstractContextManager[None]:
        """Every node also runs linux/arm64, through QEMU, inside."""
        return emulated_arm64(self.slot, self.artifacts)

    def config(self, *names: str, key: str = "full", **sections: Any) -> dict[str, Any]:
        """An exporter's configuration for these nodes (all by default), with more sections.

        ``key`` is the SSH key to log in with, one of :data:`tests.realfarm.client.KEYS`.
        """
        return {
            "nodes": [self.nodes[name].config() for name in names or self.nodes],
            "ssh": {
                "identity_files": [str(self.client.key(key))],
                "known_hosts": [str(self.client.known_hosts)],
                "config_files": [],
            },
            **sections,
        }


@contextmanager
def raised(specs: Sequence[FarmNode] = NODES) -> Iterator[Farm]:
    """Raise a farm of these nodes; it is taken down whatever happens.

    :raises FarmError: saying what could not be made, and why.
    """
    artifacts = prepare()
    with hold_slot() as slot:
        for folder in (slot.runtime, slot.disks):
            folder.mkdir(parents=True, mode=0o755)
        make_bridge(slot)
        client = Client(slot, artifacts)
        root = artifacts.roots["trixie"]
        hub = make_machine(slot, "hub", HUB, root, artifacts.tools, None, None)
        farm = Farm(slot, client, artifacts, hub, servers.registry(hub))
        _stock(farm)
        _raise_nodes(farm, specs)
        yield farm


def _stock(farm: Farm) -> None:
    """Start the registry, with the images that Docker Hub would have."""
    farm.registry.start()
    where = (farm.hub.address, servers.REGISTRY_PORT)
    images = farm.artifacts.images
    oci.push(images / "busybox", *where, "library/busybox", ("latest", "stable"))
    oci.push(images / "buildkit", *where, "moby/buildkit", ("buildx-stable-1",))


def _raise_nodes(farm: Farm, specs: Sequence[FarmNode]) -> None:
    def raise_one(spec: FarmNode) -> Node:
        node = Node(farm.slot, spec, farm.client, farm.artifacts)
        node.start()
        return node

    with ThreadPoolExecutor(len(specs), "raise") as pool:
        farm.nodes = {node.name: node for node in pool.map(raise_one, specs)}
