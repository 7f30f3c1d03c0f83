"""``/api/v1/prunes`` over the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from exporter.errors import StorageError
from exporter.prunes import Decision, Measure, Outcome, PruneRecord, Trigger, Verdict
from tests.web.serving import serving

FINE = Decision("n1", "farm0", Verdict.FINE, "no threshold is passed")
DUE = Decision("n2", "farm1", Verdict.COOLDOWN, "the disk is low", Trigger.DISK, keep=7)
RECORD = PruneRecord(
    id="1",
    node="n1",
    builder="farm0",
    trigger=Trigger.DISK,
    reason="the disk is low",
    keep=7,
    all=False,
    started_at=1000.0,
    seen_at=1012.0,
    finished_at=1012.0,
    outcome=Outcome.OK,
    before=Measure(cache=90, available=10),
    reclaimed=80,
)


@dataclass
class FakePruning:
    """What is known of prunes, and what was asked of it."""

    decisions: tuple[Decision, ...] = (DUE, FINE)
    found: list[PruneRecord] | StorageError = field(default_factory=lambda: [RECORD])
    asked: list[tuple[int, str | None, float | None]] = field(default_factory=list)

    async def recent(
        self, limit: int, node: str | None = None, before: float | None = None
    ) -> list[PruneRecord]:
        self.asked.append((limit, node, before))
        if isinstance(self.found, StorageError):
            raise self.found
        return self.found


async def ask(pruning: FakePruning | None, query: str = "") -> tuple[int, Any]:
    async with serving(pruning=pruning) as site:
        answer = await site.ask(f"/api/v1/prunes{query}")
    return answer.status, json.loads(answer.text)


async def test_records_and_decisions() -> None:
    status, said = await ask(FakePruning())
    (record,) = said["prunes"]
    assert status == 200
    assert (record["trigger"], record["outcome"], record["duration"]) == ("disk", "ok", 12.0)
    assert record["before"] == {"cache": 90, "available": 10, "inodes_free": None}
    assert [(d["node"], d["verdict"], d["trigger"]) for d in said["decisions"]] == [
        ("n1", "fine", None),
        ("n2", "cooldown", "disk"),
    ]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", (100, None, None)),
        ("?limit=1", (1, None, None)),
        ("?limit=1000&node=n2&before=999.5", (1000, "n2", 999.5)),
    ],
)
async def test_what_is_asked_of_the_history(query: str, asked: tuple[Any, ...]) -> None:
    pruning = FakePruning()
    _, said = await ask(pruning, query)
    assert pruning.asked == [asked]
    assert {d["node"] for d in said["decisions"]} == ({asked[1]} if asked[1] else {"n1", "n2"})


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit must be a whole number from 1 to 1000"),
        ("limit=1001", "limit must be a whole number from 1 to 1000"),
        ("limit=-1", "limit must be a whole number from 1 to 1000"),
        (f"limit={'9' * 5000}", "limit must be a whole number from 1 to 1000"),
        ("before=yesterday", "before must be seconds since the epoch"),
        ("before=inf", "before must be seconds since the epoch"),
        ("before=nan", "before must be seconds since the epoch"),
        ("nodes=n1", "unknown parameter: nodes"),
    ],
)
async def test_a_mistake_in_the_query(query: str, detail: str) -> None:
    pruning = FakePruning()
    assert await ask(pruning, f"?{query}") == (400, {"status": 400, "detail": detail})
    assert pruning.asked == []


async def test_a_history_that_can_not_be_read() -> None:
    status, said = await ask(FakePruning(found=StorageError("no answer in time")))
    assert (status, said["detail"]) == (503, "the history can't be read: no answer in time")


async def test_nothing_is_pruned_at_all() -> None:
    assert await ask(None) == (200, {"prunes": [], "decisions": []})


async def test_the_landing_page_shows_what_is_due_and_why() -> None:
    """And nothing of the builders that are well."""
    async with serving(pruning=FakePruning()) as site:
        page = (await site.ask("/")).text
    row = '<tr><th scope="row">n2</th><td>farm1</td><td>cooldown</td><td>the disk is low</td></tr>'
    assert row in page.splitlines()
    assert "farm0" not in page
    async with serving(pruning=FakePruning(decisions=(FINE,))) as site:
        assert "due" not in (await site.ask("/")).text
