"""A builder at the seam of its Control client, a node around it, and a store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast

from exporter.actions.history import History
from exporter.actions.pruner import Farm, NodePruner
from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.errors import Layer, NodeError, Reason, StorageError
from exporter.model import Builder, Disk, Driver, NodeSpec, PruneSettings, Snapshot, UnixEndpoint
from exporter.prunes import (
    BuilderKey,
    Decision,
    Outcome,
    PruneRecord,
    PruneRequest,
    Trigger,
)
from tests.actions.facts import GIB, NOW, disk

REQUEST = PruneRequest(Trigger.CACHE, "the cache is large", 20 * GIB)
LOST = NodeError(Layer.BUILDKIT, Reason.BUILDKIT, "BuildKit ended the connection")

Step = int | float | Exception
"""What happens in a prune: a record of so many GiB goes, so many seconds pass, it fails."""


@dataclass
class FakeBuilder:
    """A cache in GiB, and what a prune does to it. Stands for the :class:`Control` of a builder."""

    own: float = 50.0
    internal: float = 0.0
    """Of these, what goes only with ``all``."""
    shared: float = 0.0
    steps: Sequence[Step] | None = None
    """What a prune does; by default one record of all that may go."""
    builds: Any = 0
    """How many run; ``None``: too old to tell. An exception is raised, ``...`` hangs."""
    in_use: bool = False
    usage: Any = None
    """As ``builds``, for ``DiskUsage``."""
    alive: bool = True
    requests: list[tuple[int, bool, tuple[str, ...], bool]] = field(default_factory=list)
    controls: int = 0
    """Clients that are open."""
    on_pruned: Callable[[float], None] = lambda _: None

    async def disk_usage(self) -> list[pb.UsageRecord]:
        await act(self.usage)
        return [
            pb.UsageRecord(ID="a", Size=round(self.own * GIB), InUse=self.in_use),
            pb.UsageRecord(ID="s", Size=round(self.shared * GIB), Shared=True),
            pb.UsageRecord(ID="u", Size=-1),
        ]

    async def list_workers(self) -> list[pb.WorkerRecord]:
        await act(None if self.alive else ...)
        return []

    async def running_builds(self) -> int | None:
        return cast(int | None, await act(self.builds))

    async def prune(
        self,
        keep_bytes: int,
        *,
        all: bool = False,  # noqa: A002
        filters: Sequence[str] = (),
        empty: bool = False,
    ) -> AsyncGenerator[pb.UsageRecord, None]:
        self.requests.append((keep_bytes, all, tuple(filters), empty))
        floor = 0.0 if all else self.internal
        steps = self.steps
        if steps is None:
            gone = self.own - max(keep_bytes / GIB - 0.5, floor)
            steps = [round(gone)] if gone > 0 else []
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
                continue
            self.own -= step
            self.on_pruned(step)
            yield pb.UsageRecord(ID="r", Size=step * GIB)

    @property
    def control(self) -> Control:
        return cast(Control, _Open(self))


class _Open:
    def __init__(self, builder: FakeBuilder) -> None:
        self._builder = builder
        builder.controls += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def close(self) -> None:
        self._builder.controls -= 1


async def act(script: Any) -> Any:
    """Answer, fail or hang (``...``), as the script says."""
    if script is ...:
        await asyncio.Event().wait()
    if isinstance(script, Exception):
        raise script
    return script


@dataclass
class FakeNode:
    """A node with fake builders and a disk, in GiB, that prunes make room on."""

    fakes: Mapping[str, FakeBuilder]
    name: str = "n1"
    free: float = 60.0
    delay: float = 0.0
    """Seconds from a prune to when the disk shows it."""
    disk: Any = None
    """Instead of the numbers: an exception, or ``...``."""
    engine: Any = None
    there: Any = None
    """The list of builders; ``None``: all of them, as they were looked at."""
    asked: list[Builder] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = NodeSpec(self.name, UnixEndpoint("/run/docker.sock"))
        for builder in self.fakes.values():
            builder.on_pruned = self._pruned

    def _pruned(self, gib: float) -> None:
        def show() -> None:
            self.free += gib

        asyncio.get_running_loop().call_later(self.delay, show)

    @property
    def client(self) -> NodeClient:
        return cast(NodeClient, self)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def new_control(self, builder: Builder) -> Control:
        if not builder.running:
            raise NodeError(Layer.BUILDKIT, Reason.BUILDKIT, f"{builder.name} does not run")
        self.asked.append(builder)
        return self.fakes[builder.name].control

    async def builders(self, *, fresh: bool) -> Sequence[Builder]:
        assert fresh
        as_known = [Builder(name, Driver.CONTAINER, container="c0") for name in self.fakes]
        return cast(Sequence[Builder], await act(self.there)) or as_known

    async def look_at_disk(self) -> Disk:
        await act(self.disk)
        return disk(free=self.free)


@dataclass
class MemoryStore:
    """A store as the database is, shared by the histories of several processes."""

    rows: dict[str, PruneRecord] = field(default_factory=dict)
    broken: bool = False
    hangs: bool = False
    writes: list[PruneRecord] = field(default_factory=list)

    async def _reach(self) -> None:
        await act(... if self.hangs else None)
        if self.broken:
            raise StorageError("disk full")

    async def save(self, record: PruneRecord) -> None:
        await self._reach()
        self.rows[record.id] = record
        self.writes.append(record)

    async def claim(self, record: PruneRecord, newer_than: float) -> bool:
        await self._reach()
        for other in self.rows.values():
            if other.key == record.key and (
                other.runs(record.started_at) or other.started_at > newer_than
            ):
                return False
        self.rows[record.id] = record
        return True

    async def interrupt(self, unseen_since: float) -> None:
        await self._reach()
        for record in list(self.rows.values()):
            if record.outcome is Outcome.RUNNING and record.seen_at < unseen_since:
                self.rows[record.id] = replace(
                    record, outcome=Outcome.INTERRUPTED, finished_at=record.seen_at
                )

    async def latest(self, until: float | None = None) -> list[PruneRecord]:
        await self._reach()
        found: dict[BuilderKey, PruneRecord] = {}
        for record in sorted(self.rows.values(), key=lambda r: r.started_at):
            if until is None or record.started_at <= until:
                found[record.key] = record
        return list(found.values())


def clock() -> float:
    """The event loop's time, as seconds since the epoch."""
    return NOW + asyncio.get_running_loop().time()


@dataclass
class Ears:
    """Hears of decisions."""

    heard: list[Decision] = field(default_factory=list)
    gone: list[BuilderKey] = field(default_factory=list)
    deferrals: int = 0

    def decided(self, decision: Decision) -> None:
        self.heard.append(decision)

    def forgotten(self, key: BuilderKey) -> None:
        self.gone.append(key)

    def deferred(self, decision: Decision) -> None:
        del decision
        self.deferrals += 1


@dataclass
class Bench:
    """A pruner and what is around it."""

    node: FakeNode
    settings: PruneSettings
    look: Callable[[], Snapshot]
    history: History = field(default_factory=lambda: History(MemoryStore()))
    farm: Farm = field(default_factory=lambda: Farm(lambda: {"n1": {"linux/amd64"}}, 1))
    ears: Ears = field(default_factory=Ears)
    looks: int = 0

    def pruner(self) -> NodePruner:
        return NodePruner(
            client=self.node.client,
            settings=self.settings,
            snapshot=self.look,
            look_at_disk=self.node.look_at_disk,
            look_again=self._look_again,
            history=self.history,
            farm=self.farm,
            now=clock,
            listener=self.ears,
            stop=asyncio.Event(),
        )

    def _look_again(self) -> None:
        self.looks += 1
