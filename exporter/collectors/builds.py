"""The builds of users, by BuildKit's own history of them (``ListenBuildHistory``).

Canary builds, ours and those of ``docker buildx``, are none. A build that was cancelled failed.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.builds import Build, Builds
from exporter.canaries import CANARY_ARGUMENT, CANARY_PREFIX
from exporter.collectors.base import Collector, Look, Partial
from exporter.collectors.builders import from_every_builder
from exporter.errors import UnsupportedError
from exporter.model import Builder


@dataclass(frozen=True, slots=True)
class History:
    """What a builder told of its builds at one moment."""

    running: frozenset[str]
    """Their references."""
    ended: tuple[Build, ...] = ()
    """Those that it still knows: all of the last 48 hours, and at least the last 50."""


async def read_history(control: Control, *, active_only: bool = False) -> History:
    """List a builder's builds; ``active_only``: those that run.

    :raises UnsupportedError: when it keeps no history.
    """
    running: set[str] = set()
    ended: dict[str, Build] = {}
    async with aclosing(control.listen_history(active_only=active_only, early_exit=True)) as events:
        async for event in events:
            record = event.record
            if is_canary(record):
                continue
            if event.type == pb.STARTED:
                running.add(record.Ref)
            elif event.type == pb.COMPLETE:
                ended[record.Ref] = as_build(record)
    # One that ends meanwhile is told of as both.
    return History(frozenset(running - ended.keys()), tuple(ended.values()))


def is_canary(record: pb.BuildHistoryRecord) -> bool:
    """Whether a build is no user's."""
    argument = f"build-arg:{CANARY_ARGUMENT}"
    return record.Ref.startswith(CANARY_PREFIX) or argument in record.FrontendAttrs


def as_build(record: pb.BuildHistoryRecord) -> Build:
    """Take what is counted out of the record of a build that ended.

    BuildKit tells of an end twice; the steps are right from the first time on.
    """
    nanoseconds = record.CompletedAt.ToNanoseconds() - record.CreatedAt.ToNanoseconds()
    return Build(
        ref=record.Ref,
        # A clock may have been put back meanwhile.
        duration=max(nanoseconds / 1e9, 0.0),
        failed=record.HasField("error"),
        steps=record.numTotalSteps,
        cached=record.numCachedSteps,
    )


async def collect(
    client: NodeClient, look: Look
) -> tuple[Builds, ...] | Partial[tuple[Builds, ...]]:
    """Look once at what runs. A daemon follows and counts instead: see ``build_follower``."""

    async def ask(builder: Builder) -> Builds:
        try:
            history = await read_history(client.control(builder), active_only=True)
        except UnsupportedError:
            return Builds(builder.name, told=False)
        return Builds(builder.name, told=True, running=len(history.running))

    builders = [builder for builder in await client.builders() if builder.running]
    previous = {builds.builder: builds for builds in look.previous or ()}
    return await from_every_builder(builders, ask, previous, look.until)


LOOK = Collector(
    "builds",
    lambda node: node.collect.reachability,
    collect,
    lambda node: node.collect.builds,
)
"""For commands that look once."""
