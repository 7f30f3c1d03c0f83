"""A node of which the test says what every part of it answers, or that it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.builders import EMBEDDED
from exporter.buildkit.node import NodeClient
from exporter.collectors import Collector
from exporter.collectors.base import Look
from exporter.errors import Layer, NodeError, Reason
from exporter.model import (
    Builder,
    CollectSettings,
    Driver,
    EngineInfo,
    NodeSpec,
    SshEndpoint,
)

HANG = object()
"""The answer that never comes."""

NOW = 1_700_000_000.0

ENGINE_INFO = EngineInfo("28.5.2", "1.51", "linux", "amd64", "/var/lib/docker")
SETTINGS = CollectSettings(timeout=10.0, builds=False)
SPEC = NodeSpec("n1", SshEndpoint("n1.example.com"), collect=SETTINGS)
FARM0 = Builder("farm0", Driver.CONTAINER, container="c0")


async def act(script: Any) -> Any:
    """Answer, fail or hang, as the script says; a function is asked what to do."""
    if callable(script):
        script = script()
        if isinstance(script, Awaitable):
            return await script
    if script is HANG:
        await asyncio.Event().wait()
    if isinstance(script, BaseException):
        raise script
    return script


def broken(layer: Layer, reason: Reason, detail: str = "it is broken") -> NodeError:
    """A failure to script."""
    return NodeError(layer, reason, detail)


@dataclass
class FakeTransport:
    alive: Any = None
    disk: Any = None
    ends: Any = None
    connects: int = 1

    async def probe(self) -> None:
        await act(self.alive)

    async def statvfs(self, path: str) -> Any:
        return await act(lambda: self.disk(path) if callable(self.disk) else self.disk)

    async def certificates(self) -> Any:
        return await act(self.ends)


@dataclass
class FakeEngine:
    pong: Any = None
    volumes: Any = ()
    sizes: Any = field(default_factory=dict)

    async def ping(self) -> None:
        await act(self.pong)

    async def unused_volumes(self, name: str) -> Any:
        return [volume for volume in await act(self.volumes) if name in volume]

    async def volume_sizes(self) -> Any:
        return await act(self.sizes)


@dataclass
class FakeControl:
    version: Any = "v0.32.2"
    workers: Any = ()
    records: Any = ()

    async def info(self) -> Any:
        version = await act(self.version)
        return pb.InfoResponse(buildkitVersion=pb.BuildkitVersion(version=version))

    async def list_workers(self) -> Any:
        return list(await act(self.workers))

    async def disk_usage(self) -> Any:
        return list(await act(self.records))


@dataclass
class FakeStream:
    """What a command in a container writes."""

    output: bytes
    stderr: str = ""
    closed: bool = False

    async def read(self, n: int) -> bytes:
        data, self.output = self.output[:n], self.output[n:]
        return data

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeNode:
    """Stands for a :class:`NodeClient`."""

    spec: NodeSpec = SPEC
    transport: FakeTransport = field(default_factory=FakeTransport)
    engine: FakeEngine | None = field(default_factory=FakeEngine)
    info: Any = ENGINE_INFO
    known: Any = (EMBEDDED,)
    """The list of builders as it is kept."""
    found: Any = None
    """The list of builders made anew; ``None``: the same."""
    controls: dict[str, Any] = field(default_factory=dict)
    output: Any = b""
    """What an executed command writes."""
    resets: int = 0
    closed: bool = False
    streams: list[Any] = field(default_factory=list)
    executed: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def client(self) -> NodeClient:
        """The fake, as the type that it stands for."""
        return cast(NodeClient, self)

    async def engine_info(self, *, fresh: bool = False) -> Any:
        del fresh
        return await act(self.info) if self.engine else None

    async def builders(self, *, fresh: bool = False) -> Any:
        if fresh and self.found is not None:
            self.known = await act(self.found)
        return await act(self.known)

    def control(self, builder: Builder) -> Any:
        if not builder.running:
            raise broken(Layer.BUILDKIT, Reason.BUILDKIT, f"{builder.name} does not run")
        return self.controls.setdefault(builder.name, FakeControl())

    async def execute(self, builder: Builder, command: list[str]) -> Any:
        self.executed.append((builder.name, command))
        output = await act(self.output)
        stream = output if isinstance(output, FakeStream) else FakeStream(output)
        self.streams.append(stream)
        return stream

    def reset(self) -> None:
        self.resets += 1

    async def close(self) -> None:
        self.closed = True


async def no_fetch(url: str) -> str:
    raise AssertionError(f"nobody asked for {url}")


def look(
    *,
    until: float = 9.0,
    now: float = NOW,
    fetch: Callable[[str], Awaitable[str]] = no_fetch,
    previous: Any = None,
) -> Look:
    """What the runner gives a collector; ``until``: seconds from now."""
    return Look(now, asyncio.get_running_loop().time() + until, fetch, previous)


async def collected(collector: Collector, node: FakeNode, **more: Any) -> Any:
    """What a collector makes of a node."""
    return await collector.collect(node.client, look(**more))
