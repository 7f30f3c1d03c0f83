"""State volumes that nobody uses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.collectors import orphans
from exporter.errors import Layer, NodeError, Reason, RemoteError
from exporter.model import Orphans
from tests.collectors.fakes import HANG, SPEC, FakeEngine, FakeNode, broken, collected

OLD = "buildx_buildkit_old0_state"
NEW = "buildx_buildkit_new0_state"


async def found(volumes: Any, sizes: Any) -> Orphans:
    result = await collected(
        orphans.COLLECTOR, FakeNode(engine=FakeEngine(volumes=volumes, sizes=sizes))
    )
    assert isinstance(result, Orphans)
    return result


async def test_only_state_volumes_count() -> None:
    volumes = [OLD, "my_buildx_buildkit_copy_state", "buildx_buildkit_old0", "data"]
    assert await found(volumes, {OLD: 7, "data": 100}) == Orphans((OLD,), 7)


async def test_sizes_add_up() -> None:
    assert await found([OLD, NEW], {OLD: 7, NEW: 5}) == Orphans((OLD, NEW), 12)


async def test_without_volumes_nothing_is_measured() -> None:
    assert await found([], AssertionError("slow")) == Orphans((), 0)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "sizes",
    [HANG, RemoteError(Layer.ENGINE, Reason.ENGINE, "no", 500), {OLD: -1}, {}],
    ids=["slow", "refused", "not told", "not listed"],
)
async def test_they_are_known_although_their_size_is_not(sizes: Any) -> None:
    assert await found([OLD], sizes) == Orphans((OLD,), None)


async def test_an_engine_that_does_not_list_volumes_is_an_error() -> None:
    with pytest.raises(NodeError):
        await found(broken(Layer.ENGINE, Reason.ENGINE), {})


def test_a_bare_buildkitd_has_no_volumes() -> None:
    assert not orphans.COLLECTOR.applies(replace(SPEC, remote=True))
