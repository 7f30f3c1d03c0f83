"""A farm at the seam of its canary builds: they take a while, or do not end well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.actions.canary import CanaryProgress, CanaryResult
from exporter.actions.canary_plan import Target
from exporter.actions.canary_runner import Around, NodeCanaries, Places
from exporter.buildkit.node import NodeClient
from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    Step,
    StepTime,
)
from exporter.errors import StorageError
from exporter.model import Builder, CanarySettings, Snapshot
from tests.actions.facts import NOW, snapshot
from tests.actions.fakes import FakeBuilder, FakeNode, act, clock

STEPS: Mapping[Step, StepTime] = {
    Step.PULL: StepTime(0.5, None, cached=True),
    Step.CPU: StepTime(2.0, 256),
    Step.DISK: StepTime(4.0, 512),
    Step.EXPORT: StepTime(0.25, 8),
}


def canary(
    started: float = NOW,
    *,
    node: str = "n1",
    builder: str = "farm0",
    platform: str = "linux/amd64",
    **more: Any,
) -> CanaryRecord:
    """A canary build that took ten seconds and was well."""
    values: dict[str, Any] = {
        "id": f"{node}-{builder}-{platform}-{started}"[-32:],
        "node": node,
        "builder": builder,
        "platform": platform,
        "emulated": False,
        "trigger": CanaryTrigger.SCHEDULE,
        "outcome": CanaryOutcome.OK,
        "started_at": started,
        "finished_at": started + 10,
        "steps": STEPS,
    }
    return CanaryRecord(**(values | more))


@dataclass
class Builds:
    """Canary builds in virtual time, and who built when."""

    seconds: float = 10.0
    result: Any = field(default_factory=lambda: CanaryResult(CanaryOutcome.OK, STEPS))
    """As the script of :func:`~tests.actions.fakes.act`."""
    spans: list[tuple[str, str, str, float, float]] = field(default_factory=list)
    """Node, builder, platform, start and end."""
    cancelled: int = 0

    async def __call__(
        self,
        client: NodeClient,
        builder: Builder,
        platform: str,
        settings: CanarySettings,
        on_progress: Callable[[CanaryProgress], None],
    ) -> CanaryResult:
        del settings
        started = clock()
        on_progress(CanaryProgress(Step.CPU, {}))
        try:
            await asyncio.sleep(self.seconds)
            result: CanaryResult = await act(self.result)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.spans.append((client.spec.name, builder.name, platform, started, clock()))
        return result

    @property
    def most_at_once(self) -> int:
        """How many ran at the same time at the most."""
        return max(
            sum(start <= moment < end for *_, start, end in self.spans)
            for *_, moment, _ in self.spans
        )


@dataclass
class CanaryBench:
    """The canaries of one node, and what is around them."""

    builds: Builds = field(default_factory=Builds)
    node: FakeNode = field(default_factory=lambda: FakeNode({"farm0": FakeBuilder()}))
    settings: CanarySettings = field(default_factory=lambda: CanarySettings(every=60.0))
    look: Callable[[], Snapshot] = snapshot
    places: Places = field(default_factory=lambda: Places(2))
    pruning: bool = False
    records: list[CanaryRecord] = field(default_factory=list)
    planned: list[frozenset[Target]] = field(default_factory=list)
    progress: list[tuple[str, Step | None]] = field(default_factory=list)

    def canaries(self) -> NodeCanaries:
        around = Around(
            build=self.builds,
            look_at_disk=self.node.look_at_disk,
            places=self.places,
            record=self._record,
            now=clock,
            pruning=lambda: self.pruning,
            on_progress=lambda target, now: self.progress.append((target.platform, now.step)),
            planned=self.planned.append,
        )
        return NodeCanaries(self.node.client, self.settings, self.look, around)

    async def _record(self, record: CanaryRecord) -> None:
        self.records.append(record)

    async def build(self) -> list[CanaryRecord]:
        """Build all of them, once."""
        return await self.canaries().build_all(CanaryTrigger.SCHEDULE)


@dataclass
class MemoryCanaries:
    """A store as the database is."""

    rows: dict[str, CanaryRecord | MultiarchRecord] = field(default_factory=dict)
    writes: int = 0
    broken: bool = False
    hangs: bool = False
    refused: dict[str, Any] = field(default_factory=dict)
    """By record, what comes of writing it, as the script of :func:`~tests.actions.fakes.act`."""

    async def _reach(self, id_: str | None = None) -> None:
        await act(... if self.hangs else self.refused.get(id_ or ""))
        if self.broken:
            raise StorageError("disk full")

    async def save(self, record: CanaryRecord) -> None:
        await self._reach(record.id)
        self.rows[record.id] = record
        self.writes += 1

    async def save_multiarch(self, record: MultiarchRecord) -> None:
        await self._reach(record.id)
        self.rows[record.id] = record
        self.writes += 1

    async def latest(self, since: float = 0.0) -> list[CanaryRecord]:
        await self._reach()
        records = (row for row in self.rows.values() if isinstance(row, CanaryRecord))
        return [record for record in records if record.started_at >= since]
