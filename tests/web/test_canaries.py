"""``/api/v1/canaries`` over the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from exporter.canaries import (
    CanaryKey,
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    MultiarchRun,
)
from exporter.errors import StorageError
from tests.actions.canary_farm import canary
from tests.web.serving import serving

WHOLE = MultiarchRecord(
    "w",
    "farm",
    CanaryTrigger.SCHEDULE,
    CanaryOutcome.OK,
    1000.0,
    1030.0,
    first=MultiarchRun(12.5, {"linux/amd64": "farm0"}, 6, 4),
    pushed=("linux/amd64",),
)


@dataclass
class FakeCanaries:
    """What is known of canaries, and what was asked of it."""

    error: StorageError | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    latest: dict[CanaryKey, CanaryRecord] = field(default_factory=dict)

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[CanaryRecord]:
        self.asked.append((limit, node, before))
        if self.error is not None:
            raise self.error
        return [canary(1000.0)]

    async def recent_multiarch(
        self, limit: int, before: float | None = None
    ) -> list[MultiarchRecord]:
        self.asked.append((limit, before))
        return [WHOLE]


async def ask(canaries: FakeCanaries | None, query: str = "") -> tuple[int, Any]:
    async with serving(built=canaries) as site:
        answer = await site.ask(f"/api/v1/canaries{query}")
    return answer.status, json.loads(answer.text)


async def test_records() -> None:
    status, said = await ask(FakeCanaries())
    (record,), (whole,) = said["canaries"], said["multiarch"]
    assert status == 200
    assert (record["outcome"], record["emulated"], record["duration"]) == ("ok", False, 10.0)
    assert record["steps"]["cpu"] == {
        "seconds": 2.0,
        "bytes": 256,
        "cached": False,
        "throughput": 128.0,
    }
    assert record["steps"]["pull"]["throughput"] is None
    assert (whole["duration"], whole["pushed"], whole["second"]) == (30.0, ["linux/amd64"], None)
    assert whole["first"]["nodes"] == {"linux/amd64": "farm0"}


async def test_what_is_asked_of_the_history() -> None:
    canaries = FakeCanaries()
    await ask(canaries, "?limit=7&before=999.5")
    assert canaries.asked == [(7, None, 999.5), (7, 999.5)]


async def test_of_one_node() -> None:
    """Those over the whole farm are of no node."""
    canaries = FakeCanaries()
    _, said = await ask(canaries, "?node=n2")
    assert canaries.asked == [(100, "n2", None)]
    assert said["multiarch"] == []


@pytest.mark.parametrize("query", ["?limit=0", "?before=nan", "?nodes=n1"])
async def test_a_mistake_in_the_query(query: str) -> None:
    canaries = FakeCanaries()
    assert (await ask(canaries, query))[0] == 400
    assert canaries.asked == []


async def test_a_history_that_can_not_be_read() -> None:
    status, said = await ask(FakeCanaries(StorageError("no answer in time")))
    assert (status, said["detail"]) == (503, "the history can't be read: no answer in time")


async def test_there_are_no_canaries() -> None:
    assert await ask(None) == (200, {"canaries": [], "multiarch": []})
