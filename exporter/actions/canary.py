"""One canary build: the same work everywhere, timed by BuildKit, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from exporter.actions.canary_leftovers import Traces
from exporter.actions.canary_work import LABEL, Timeline, dockerfile, solve_request
from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.canaries import CANARY_PREFIX, CanaryOutcome, Step, StepTime
from exporter.errors import NodeError, RemoteError
from exporter.model import Builder, CanarySettings, Driver
from exporter.words import duration, line

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

CLEAN_UP = 30.0
"""Seconds after which what is left behind is left."""

# A build that was just cancelled holds its records for a moment; BuildKit 0.32 does for ever.
_LOOKS, _LOOK_AGAIN = 25, 0.2

# Which step failed is told just after the build's end.
_LAST_WORDS = 2.0


@dataclass(frozen=True, slots=True)
class CanaryProgress:
    """How far a canary is."""

    step: Step | None
    """What runs now."""
    done: Mapping[Step, StepTime]


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """How a canary went."""

    outcome: CanaryOutcome
    """OK, FAILED or TIMEOUT."""
    steps: Mapping[Step, StepTime]
    detail: str | None = None
    """For people, one line."""


async def run_canary(
    client: NodeClient,
    builder: Builder,
    platform: str,
    settings: CanarySettings,
    on_progress: Callable[[CanaryProgress], None] = lambda _: None,
    *,
    token: Callable[[], str] = lambda: secrets.token_hex(8),
) -> CanaryResult:
    """Build once on a builder for a platform, over a connection of its own.

    Never raises :class:`NodeError`. However it ends, cancelled too, the build does not go on at
    the node, and what it put into the cache (and an Engine's image store) is removed again, within
    :data:`CLEAN_UP` seconds. What could not be removed, a few KiB of empty layers, is the next
    canary's to remove; ``detail`` says so.
    """
    mark = CANARY_PREFIX + token()
    try:
        control = client.new_control(builder)
    except NodeError as error:
        return CanaryResult(CanaryOutcome.FAILED, {}, _joined(str(error)))
    with client.held():
        try:
            canary = _Canary(client, control, builder, platform, settings, mark, on_progress)
            return await canary.run()
        finally:
            control.close()


class _Canary:
    """A build on its way."""

    def __init__(
        self,
        client: NodeClient,
        control: Control,
        builder: Builder,
        platform: str,
        settings: CanarySettings,
        mark: str,
        on_progress: Callable[[CanaryProgress], None],
    ) -> None:
        self._engine = client.engine if builder.driver is Driver.DOCKER else None
        self._control = control
        self._settings = settings
        self._request = solve_request(mark, platform, settings, builder.driver)
        self._timeline = Timeline(mark, settings)
        self._on_progress = on_progress
        self._told: CanaryProgress | None = None
        self._traces: Traces | None = None
        self._pulled: bool | None = None
        self._untimed: str | None = None
        """Why not all times are known."""
        self._image_left: str | None = None
        """Why an image was not removed."""
        self._log = log.bind(node=client.spec.name, builder=builder.name, platform=platform)

    async def run(self) -> CanaryResult:
        outcome, detail, note = CanaryOutcome.OK, None, None
        try:
            async with asyncio.timeout(self._settings.timeout):
                before = {record.ID for record in await self._control.disk_usage()}
                text = dockerfile(self._request.Ref, self._settings)
                self._traces = Traces(
                    self._request.Ref, self._settings.base_image, len(text.encode()), before
                )
                await self._build()
        except TimeoutError:
            outcome = CanaryOutcome.TIMEOUT
            where = f" in step {running}" if (running := self._timeline.running) else ""
            detail = f"not done in {duration(self._settings.timeout)}: cancelled{where}"
        except NodeError as error:
            outcome, detail = CanaryOutcome.FAILED, self._explain(error)
        finally:
            if self._traces is not None:
                note = await self._clean_up(self._traces)
        steps = self._timeline.done()
        if (pull := steps.get(Step.PULL)) and self._pulled is False:
            steps[Step.PULL] = replace(pull, cached=True)
        return CanaryResult(outcome, steps, _joined(detail, self._untimed, note))

    def _explain(self, error: NodeError) -> str:
        _, refused, said = error.detail.partition(": Solve: ")
        told = isinstance(error, RemoteError) and refused
        return self._timeline.explain(said) if told else str(error)

    async def _build(self) -> None:
        watch = asyncio.create_task(self._watch(), name=f"canary/{self._request.Ref}/watch")
        try:
            await self._control.solve(self._request)
            try:
                await watch
            except NodeError as error:  # it was built all the same
                self._untimed = f"not all of its times are known: {error}"
        except RemoteError:
            await asyncio.wait([watch], timeout=_LAST_WORDS)
            raise
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        async with aclosing(self._control.status(self._request.Ref)) as updates:
            async for update in updates:
                self._timeline.feed(update)
                progress = CanaryProgress(self._timeline.running, self._timeline.done())
                if progress != self._told:
                    self._told = progress
                    self._on_progress(progress)

    async def _clean_up(self, traces: Traces) -> str | None:
        """Remove what the build left; why not, where that was not possible."""
        left: str | None = None
        try:
            async with asyncio.timeout(CLEAN_UP):
                for _ in range(_LOOKS):
                    if await self._remove(traces):
                        break
                    await asyncio.sleep(_LOOK_AGAIN)
                else:
                    left = "BuildKit still holds records of it; the next canary removes them"
        except (NodeError, TimeoutError) as error:
            left = f"what it left could not be removed: {str(error) or 'no answer in time'}"
        said = _joined(left, self._image_left)
        if said is not None:
            self._log.warning("not all of a canary build was removed", reason=said)
        return said

    async def _remove(self, traces: Traces) -> bool:
        """Remove what can be removed now; whether nothing of this build is left."""
        if self._engine is not None:
            self._image_left = None
            for image in await self._engine.untagged_images(LABEL):
                try:
                    await self._engine.remove_image(image)
                except RemoteError as error:  # somebody runs it; the records go all the same
                    self._image_left = f"an image of a canary could not be removed: {error}"
        found = traces.find(await self._control.disk_usage())
        self._pulled = self._pulled or found.pulled
        removed = await self._control.remove(found.removable) if found.removable else set()
        return found.own <= removed


def _joined(*said: str | None) -> str | None:
    return line("; ".join(filter(None, said))) or None
