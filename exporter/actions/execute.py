"""From a wish to prune to a finished record: the same for the daemon and for prunes by hand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from exporter.actions.history import BEAT, History
from exporter.actions.prune import Progress, Prune
from exporter.buildkit.node import NodeClient
from exporter.errors import NodeError
from exporter.model import Builder, Disk
from exporter.prunes import Outcome, PruneRecord, PruneRequest

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """A builder, and how to look at the disk that its cache is on."""

    client: NodeClient
    builder: Builder
    look_at_disk: Callable[[], Awaitable[Disk]]


def new_record(node: str, builder: str, request: PruneRequest, now: float) -> PruneRecord:
    """Make the record of a prune that starts now."""
    return PruneRecord(
        id=uuid.uuid4().hex,
        node=node,
        builder=builder,
        trigger=request.trigger,
        reason=request.reason,
        keep=request.keep,
        all=request.all,
        started_at=now,
        seen_at=now,
    )


async def execute(
    target: Target,
    request: PruneRequest,
    history: History,
    now: Callable[[], float],
    *,
    still_due: Callable[[int, Disk], bool] | None = None,
    explain: Callable[[], Awaitable[str | None]] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> PruneRecord | None:
    """Prune, and keep the record of it true all the while. ``None``: somebody else was faster.

    ``explain`` says whose the space is when the prune was not enough. Cancelled, it leaves the
    record as interrupted.
    """
    record = new_record(target.client.spec.name, target.builder.name, request, now())
    if not await history.begin(record):
        return None
    with structlog.contextvars.bound_contextvars(node=record.node, builder=record.builder):
        log.info("prune starts", trigger=request.trigger, reason=request.reason, keep=request.keep)
        running = _Running(record, history, now, on_progress)
        end: dict[str, Any] = {"outcome": Outcome.FAILED, "note": "unexpected; see the log"}
        try:
            with target.client.held():
                end = await running.run(target, request, still_due)
            if end["effective"] is False and explain is not None:
                end["note"] = await explain()
        except asyncio.CancelledError:
            if end["outcome"] is not Outcome.OK:
                end = {"outcome": Outcome.INTERRUPTED, "note": "the exporter was stopped"}
            raise
        except NodeError as error:
            end = {"outcome": Outcome.FAILED, "note": str(error)}
        finally:
            moment = now()
            record = replace(running.record, finished_at=moment, seen_at=moment, **end)
            _tell(record)
            await history.save(record)
        return record


class _Running:
    """A prune on its way: its record, and who keeps it fresh."""

    def __init__(
        self,
        record: PruneRecord,
        history: History,
        now: Callable[[], float],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.record = record
        self._history = history
        self._now = now
        self._on_progress = on_progress

    async def run(
        self,
        target: Target,
        request: PruneRequest,
        still_due: Callable[[int, Disk], bool] | None,
    ) -> dict[str, Any]:
        """Prune; what to put into the record at the end."""
        # A connection of its own: a look that ends at its deadline gives up the one it used.
        control = target.client.new_control(target.builder)
        beat = asyncio.create_task(
            self._beat(), name=f"prune/{self.record.node}/{self.record.builder}/beat"
        )
        try:
            prune = Prune(control, request, target.look_at_disk, still_due, self._progress)
            before = (await prune.measure()).measure
            self.record = replace(self.record, before=before)
            after, effective = await prune.run(before)
            return {"outcome": Outcome.OK, "after": after, "effective": effective}
        finally:
            control.close()
            beat.cancel()
            await asyncio.wait([beat])

    def _progress(self, progress: Progress) -> None:
        self.record = replace(
            self.record,
            reclaimed=progress.reclaimed,
            records=progress.records,
            escalated=progress.escalated,
            stalled=progress.stalled,
        )
        self._on_progress(progress)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self.record = replace(self.record, seen_at=self._now())
            await self._history.save(self.record)


def _tell(record: PruneRecord) -> None:
    facts = {
        "reclaimed": record.reclaimed,
        "records": record.records,
        "seconds": round(record.duration or 0, 1),
        "cache": record.after.cache,
        "available": record.after.available,
    }
    if record.outcome is not Outcome.OK:
        log.error("prune did not end well", outcome=record.outcome, note=record.note, **facts)
    elif record.effective is False:
        log.warning("prune was not enough", note=record.note, **facts)
    else:
        log.info("prune ended", escalated=record.escalated, **facts)
