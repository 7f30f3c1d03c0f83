"""What nodes the farm has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HUB = 2
"""The registry's host number. It mirrors Docker Hub: busybox and BuildKit come from it."""


@dataclass(frozen=True, slots=True)
class FarmNode:
    """One node: what it runs, and how it is reached."""

    name: str
    host: int
    """Its address is the farm's network with this as its last part."""
    suite: Literal["bookworm", "trixie"] = "trixie"
    """Debian's release: Engine 20.10 with OpenSSH 9.2, or Engine 26.1 with OpenSSH 10.0."""
    engine: Literal["dockerd", "buildkitd"] = "dockerd"
    ssh: bool = False
    tcp: bool = False
    """The engine listens on TCP with mutual TLS."""
    shared: bool = False
    """The engine's socket and disk are on this machine, too: the node behind ``unix://``."""
    builder: str | None = None
    """A buildx builder of this name; its container builder on this node is ``NAME0``."""
    node_exporter: bool = False
    size_mb: int = 1500
    inodes: int = 40_000

    @property
    def container(self) -> str | None:
        """The buildx node of the container builder, which the exporter calls the builder."""
        return f"{self.builder}0" if self.builder and self.engine == "dockerd" else None

    @property
    def port(self) -> int:
        """The engine's TCP port."""
        return 1234 if self.engine == "buildkitd" else 2376


NODES = (
    FarmNode("old", 11, suite="bookworm", ssh=True),
    FarmNode("new", 12, ssh=True, builder="farm"),
    FarmNode("tls", 13, tcp=True, builder="tls", node_exporter=True),
    FarmNode("local", 14, shared=True, builder="local"),
    FarmNode("kitd", 15, engine="buildkitd", tcp=True, builder="kitd", node_exporter=True),
)
