"""The filesystem that holds Docker's root, or a bare buildkitd's state.

Numbers come from ``statvfs`` wherever it can be had: over SFTP, or on this machine. Elsewhere a
node_exporter is asked if the configuration names one, else ``stat`` in a builder's container.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from exporter.buildkit.node import NodeClient
from exporter.collectors.base import Collector, Look
from exporter.collectors.node_exporter import disk_from_page
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.forecast import full_at, remember
from exporter.model import Disk, Driver

BUILDKIT_ROOT = "/var/lib/buildkit"

# Fundamental block size, blocks, blocks available, inodes, inodes free: GNU's and busybox's stat.
_STAT = ["stat", "-f", "-c", "%S %b %a %c %d", BUILDKIT_ROOT]


async def collect(client: NodeClient, look: Look) -> Disk:
    """Look at the disk, and ahead: when it will be full as it fills now.

    :raises UnsupportedError: when there is no way to; its text says what to configure.
    """
    disk = await read(client, look.fetch)
    before: Disk | None = look.previous
    samples = before.samples if before is not None and before.path == disk.path else ()
    samples = remember(samples, look.now, disk.available, client.spec.collect.disk)
    end = full_at(samples, disk.size, look.now, disk.available)
    return replace(disk, samples=samples, full_at=end)


async def read(client: NodeClient, fetch: Callable[[str], Awaitable[str]]) -> Disk:
    """Read the disk's numbers by the best way there is; ``fetch`` as in :class:`Look`.

    :raises UnsupportedError: when there is none; its text says what to configure.
    """
    path = client.spec.disk.path or await _root(client)
    if client.spec.disk.node_exporter is not None:
        return disk_from_page(await fetch(client.spec.disk.node_exporter), path)
    try:
        return await client.transport.statvfs(path)
    except UnsupportedError as error:
        # A container of a builder sees the disk of Docker's root, and no other.
        disk = None if client.spec.disk.path else await _stat_in_builder(client, path)
        if disk is not None:
            return disk
        raise UnsupportedError(
            error.layer,
            error.reason,
            f"{error.detail}; set disk.node_exporter to a node_exporter of this node",
        ) from error


async def _root(client: NodeClient) -> str:
    engine = await client.engine_info()
    return BUILDKIT_ROOT if engine is None else engine.root


async def _stat_in_builder(client: NodeClient, path: str) -> Disk | None:
    """Run ``stat`` where a container builder's state volume is mounted, which is on that disk."""
    for builder in await client.builders():
        if builder.driver is not Driver.CONTAINER or not builder.running:
            continue
        stream = await client.execute(builder, _STAT)
        try:
            output = b""
            while data := await stream.read(4096):
                output += data
        finally:
            stream.close()
        try:
            block, blocks, available, inodes, free = (int(word) for word in output.split())
        except ValueError as error:
            said = stream.stderr or output.decode(errors="replace")
            raise NodeError(
                Layer.ENGINE, Reason.PROTOCOL, f"stat in {builder.name} said {said[:200]!r}"
            ) from error
        return Disk(path, block * blocks, block * available, inodes, free)
    return None


COLLECTOR = Collector("disk", lambda node: node.collect.disk, collect)
