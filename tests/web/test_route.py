"""``/api/v1/route`` over the wire."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from exporter.canaries import CanaryOutcome
from exporter.model import Snapshot
from tests.routing.farms import DOWN, NOW, busier, canary, node
from tests.web.serving import Site, serving

FARM = (node("a"), node("b"), node("down", reachability=DOWN))


def know(site: Site, *farm: Snapshot) -> None:
    for snapshot in farm:
        site.know(snapshot)


async def ask(site: Site, query: str = "platform=linux/amd64") -> tuple[int, Any]:
    answer = await site.ask(f"/api/v1/route?{query}")
    return answer.status, json.loads(answer.text)


async def test_the_best_node_and_why() -> None:
    async with serving(*(s.node for s in FARM), now=lambda: NOW) as site:
        know(site, *FARM)
        answer = await site.ask("/api/v1/route?platform=amd64")
    said = json.loads(answer.text)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert {name: said[name] for name in ("platform", "node", "builder", "emulated")} == {
        "platform": "linux/amd64",
        "node": "a",
        "builder": "farm0",
        "emulated": False,
    }
    assert said["why"].endswith("; as good as b")
    assert [row["node"] for row in said["candidates"]] == ["a", "b"]
    assert said["left_out"] == [{"node": "down", "why": "down: transport: timeout: no answer"}]


async def test_who_asks_at_once_is_sent_to_different_nodes() -> None:
    async with serving(*(s.node for s in FARM), now=lambda: NOW) as site:
        know(site, *FARM)
        answers = await asyncio.gather(*(ask(site) for _ in range(8)))
        assert Counter(said["node"] for _, said in answers) == {"a": 4, "b": 4}
        # Those that began on the one are seen; those on the other are still on their way.
        know(site, busier(FARM[0], running=3, total=1))
        _, said = await ask(site)
    assert (said["node"], said["candidates"][1]["handed_out"]) == ("a", 4)


async def test_a_minute_later_nobody_waits_for_builds_that_never_came() -> None:
    now = NOW
    async with serving(*(s.node for s in FARM), now=lambda: now) as site:
        know(site, node("a", age=-3600), node("b", age=-3600, building=2))
        first = [(await ask(site))[1]["node"] for _ in range(3)]
        now += 61
        later = (await ask(site))[1]["node"]
    assert (first, later) == (["a", "a", "b"], "a")


async def test_head_hands_nothing_out() -> None:
    async with serving(*(s.node for s in FARM), now=lambda: NOW) as site:
        know(site, *FARM)
        assert (await site.ask("/api/v1/route?platform=linux/amd64", "HEAD")).status == 405
        _, said = await ask(site)
    assert [row["handed_out"] for row in said["candidates"]] == [0, 0]


async def test_canaries_count() -> None:
    record = canary("a", 0, CanaryOutcome.FAILED)
    async with serving(
        *(s.node for s in FARM), now=lambda: NOW, canaries={record.key: record}
    ) as site:
        know(site, *FARM)
        _, said = await ask(site)
    assert said["node"] == "b"
    assert said["why"].endswith("ahead of a, whose latest canary build failed")


async def test_no_node_can() -> None:
    async with serving(*(s.node for s in FARM), now=lambda: NOW) as site:
        know(site, FARM[0])
        status, said = await ask(site, "platform=linux/s390x")
    assert (status, said["status"]) == (404, 404)
    assert said["detail"].startswith("no node can build linux/s390x now: a: farm0: linux/s390x is")
    assert [out["node"] for out in said["left_out"]] == ["a", "b", "down"]
    assert said["left_out"][1]["why"] == "not looked at yet"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "name one platform, as ?platform=linux/amd64"),
        ("platform=linux/amd64&platform=linux/arm64", "name one platform, as ?platform="),
        ("platform=", "'' is not a platform; write linux/amd64 or linux/arm64"),
        ("platform=amd65", "'amd65' is not a platform; write"),
        ("platform=linux/amd64&node=a", "unknown parameter: node"),
    ],
)
async def test_a_mistake_in_the_query(query: str, detail: str) -> None:
    async with serving(now=lambda: NOW) as site:
        status, said = await ask(site, query)
    assert status == 400
    assert said["detail"].startswith(detail)
