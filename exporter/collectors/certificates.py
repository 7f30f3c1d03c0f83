"""When the certificates of a TLS node end, both the server's and ours."""

from __future__ import annotations

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look
from exporter.model import Certificates


async def collect(client: NodeClient, look: Look) -> Certificates | None:
    """Shake hands anew, so that a renewed certificate shows and a kept connection hides nothing."""
    del look
    return await client.transport.certificates()


COLLECTOR = Collector(
    "certificates",
    lambda node: node.collect.workers,
    collect,
    lambda node: node.transport == "tls",
)
