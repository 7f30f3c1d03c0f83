"""Whose the space is when it is not the cache's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from exporter.actions.space import whose_space
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Learned, Orphans
from tests.actions.facts import GIB, NOW, cache, snapshot
from tests.actions.fakes import FakeNode, act

FARM0 = "50.0 GiB in the cache of builder farm0"

pytestmark = pytest.mark.virtual_time


@dataclass
class FakeEngine:
    images: Any

    async def images_size(self) -> Any:
        return await act(self.images)


@pytest.mark.parametrize(
    ("engine", "orphans", "said"),
    [
        (None, None, FARM0),
        (FakeEngine(9 * GIB), None, f"{FARM0}; 9.0 GiB in images"),
        (FakeEngine(None), None, f"{FARM0}; images"),
        (
            FakeEngine(...),
            None,
            f"{FARM0}; images (their size could not be told)",
        ),
        (
            FakeEngine(NodeError(Layer.ENGINE, Reason.TIMEOUT, "no answer")),
            None,
            f"{FARM0}; images (their size could not be told)",
        ),
        (
            None,
            Orphans(("a", "b"), 3 * GIB),
            f"{FARM0}; 3.0 GiB in 2 orphaned state volumes of removed builders",
        ),
        (
            None,
            Orphans(("a",), None),
            f"{FARM0}; 1 orphaned state volume of removed builders",
        ),
        (None, Orphans((), None), FARM0),
    ],
)
async def test_what_is_named(engine: Any, orphans: Orphans | None, said: str) -> None:
    known = replace(snapshot(cache()), orphans=Learned(orphans, NOW) if orphans else None)
    found = await whose_space(FakeNode({}, engine=engine).client, known, "farm1")
    assert found == f"the space is not the build cache's to free. On this node: {said}"


async def test_the_pruned_cache_is_not_named_with_the_size_it_had_before() -> None:
    known = snapshot(cache("farm0", 50), cache("farm1", 7))
    found = await whose_space(FakeNode({}).client, known, "farm0")
    assert found.endswith("On this node: 7.0 GiB in the cache of builder farm1")


async def test_nothing_is_known() -> None:
    known = replace(snapshot(), cache=None)
    found = await whose_space(FakeNode({}).client, known, "farm0")
    assert found.endswith("On this node: nothing of Docker's that could be measured")
