"""Versions, platforms and garbage collection of every builder, and of the Engine around them."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.node import NodeClient
from exporter.buildkit.platforms import is_native, platform_name
from exporter.collectors.base import Collector, Look, Partial
from exporter.collectors.builders import from_every_builder
from exporter.errors import UnsupportedError
from exporter.model import Builder, BuilderPlatform, Worker, Workers


async def collect(client: NodeClient, look: Look) -> Workers | Partial[Workers]:
    """Ask the Engine and every builder what they are."""
    engine = await client.engine_info(fresh=True)
    arch = engine.arch if engine else None

    async def ask(builder: Builder) -> Worker:
        return await _ask(client, builder, arch)

    previous: Workers | None = look.previous
    known = {w.builder.name: w for w in previous.workers} if previous else {}
    builders = await client.builders(fresh=True)
    result = await from_every_builder(builders, ask, known, look.until)
    if isinstance(result, Partial):
        return Partial(Workers(engine, result.value), result.error)
    return Workers(engine, result)


async def _ask(client: NodeClient, builder: Builder, arch: str | None) -> Worker:
    control = client.control(builder)
    records = await control.list_workers()
    version = next((r.BuildkitVersion.version for r in records if r.BuildkitVersion.version), "")
    if not version:
        try:
            version = (await control.info()).buildkitVersion.version
        except UnsupportedError:
            version = ""
    platforms = dict.fromkeys(platform_name(p) for record in records for p in record.platforms)
    if arch is None and platforms:
        # BuildKit lists the platform it was built for first.
        arch = next(iter(platforms)).split("/")[1]
    return Worker(
        builder=builder,
        version=version,
        platforms=tuple(
            BuilderPlatform(name, emulated=not is_native(name, arch or "")) for name in platforms
        ),
        gc_keep=gc_keep([policy for record in records for policy in record.GCPolicy]),
    )


def gc_keep(policies: Iterable[pb.GCPolicy]) -> int | None:
    """Return the largest size in bytes that BuildKit's own collection lets the cache have.

    Up to BuildKit 0.16 that is a policy's ``keepBytes``; since 0.17 ``maxUsedSpace``, while the
    field of old is what is *reserved* and caps only where nothing else is set.
    """
    caps = []
    for policy in policies:
        if policy.maxUsedSpace > 0:
            caps.append(policy.maxUsedSpace)
        elif policy.reservedSpace > 0 and policy.minFreeSpace == 0:
            caps.append(policy.reservedSpace)
    return max(caps, default=None)


COLLECTOR = Collector("workers", lambda node: node.collect.workers, collect)
