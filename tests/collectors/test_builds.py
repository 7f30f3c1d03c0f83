"""What a build history says at one moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from exporter.buildkit.builders import EMBEDDED
from exporter.buildkit.control import Control
from exporter.builds import Builds
from exporter.canaries import CANARY_ARGUMENT, CANARY_PREFIX
from exporter.collectors.base import Partial
from exporter.collectors.builds import LOOK, History, as_build, read_history
from exporter.errors import Layer, Reason, UnsupportedError
from tests.collectors.fakes import FARM0, FakeNode, broken, collected
from tests.collectors.histories import FakeBuildKit, build, complete, deleted, started

UNSUPPORTED = UnsupportedError(Layer.BUILDKIT, Reason.PROTOCOL, "unknown method")
CANARY_ATTRIBUTE = {f"build-arg:{CANARY_ARGUMENT}": "1"}


async def read(*events: Any, **options: bool) -> History:
    return await read_history(cast(Control, FakeBuildKit(*events)), **options)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, build("a")),
        ({"took": 0.25, "steps": 9, "cached": 9}, build("a", duration=0.25, steps=9, cached=9)),
        ({"error": "exit code: 1"}, build("a", failed=True)),
        ({"error": "context canceled"}, build("a", failed=True)),
        # The clock was put back while it ran.
        ({"took": -7.0}, build("a", duration=0.0)),
    ],
)
def test_what_is_counted_of_a_build(changes: dict[str, Any], counted: Any) -> None:
    assert as_build(complete("a", **changes).record) == counted


async def test_running_and_ended() -> None:
    history = await read(started("a"), started("b"), complete("c"))
    assert history == History(frozenset({"a", "b"}), (build("c"),))


async def test_one_that_ends_meanwhile_is_told_of_as_both() -> None:
    assert await read(started("a"), complete("a")) == History(frozenset(), (build("a"),))


async def test_one_that_is_removed_is_nothing() -> None:
    assert await read(deleted("a")) == History(frozenset())


@pytest.mark.parametrize(
    ("ref", "attributes"), [(f"{CANARY_PREFIX}7", {}), ("a", CANARY_ATTRIBUTE)]
)
async def test_canaries_are_not_among_them(ref: str, attributes: dict[str, Any]) -> None:
    assert await read(started(ref, **attributes)) == History(frozenset())
    assert await read(complete(ref, **attributes)) == History(frozenset())


async def test_one_look_tells_what_runs_and_where_nobody_tells() -> None:
    node = FakeNode(known=(EMBEDDED, FARM0))
    node.controls["docker"] = kit = FakeBuildKit()
    kit.refusal = UNSUPPORTED
    node.controls["farm0"] = FakeBuildKit(started("a"), started("b"), complete("c"))
    assert await collected(LOOK, node) == (Builds("docker", False), Builds("farm0", True, 2))


async def test_one_look_without_one_of_the_builders() -> None:
    node = FakeNode(known=(EMBEDDED, FARM0))
    node.controls["docker"] = FakeBuildKit(started("a"))
    node.controls["farm0"] = kit = FakeBuildKit()
    kit.refusal = broken(Layer.BUILDKIT, Reason.BUILDKIT)
    found = await collected(LOOK, node)
    assert found == Partial((Builds("docker", True, 1),), kit.refusal)


async def test_a_builder_that_does_not_run_is_not_asked() -> None:
    node = FakeNode(known=(replace(FARM0, running=False),))
    assert await collected(LOOK, node) == ()
