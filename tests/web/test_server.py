"""Health, readiness, the landing page, and what is not there."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace

import pytest

from exporter.builds import BuildCounts, Builds
from exporter.canaries import (
    CanaryKey,
    CanaryOutcome,
    CanaryRecord,
    CanaryTrigger,
    MultiarchRecord,
    Step,
    StepTime,
)
from exporter.errors import Layer, Reason
from exporter.model import CollectorState, Failure, NodeSpec, Reachability, Snapshot, SshEndpoint
from tests.exposition.known import DOWN, NOW, UP, known, learned
from tests.web.serving import LOOPBACK, Site, serving

NODES = [NodeSpec(f"n{number}", SshEndpoint(f"n{number}.example.com")) for number in range(7)]


def seen(site: Site, node: NodeSpec, reachability: Reachability = UP) -> None:
    site.know(replace(known(), node=node, reachability=learned(reachability)))


async def test_healthy_as_soon_as_it_listens() -> None:
    async with serving(*NODES) as site:
        answer = await site.ask("/-/healthy")
    assert (answer.status, answer.text) == (200, "buildfarm-exporter is healthy.\n")


async def test_ready_when_every_node_was_looked_at_once() -> None:
    async with serving(*NODES[:2]) as site:
        answer = await site.ask("/-/ready")
        assert (answer.status, answer.text) == (503, "Not yet looked at: n0, n1.\n")
        seen(site, NODES[0])
        assert (await site.ask("/-/ready")).text == "Not yet looked at: n1.\n"
        seen(site, NODES[1], DOWN)
        answer = await site.ask("/-/ready")
    assert (answer.status, answer.text) == (200, "buildfarm-exporter is ready.\n")


async def test_many_nodes_that_wait_are_not_all_named() -> None:
    async with serving(*NODES) as site:
        assert (await site.ask("/-/ready")).text.endswith("n3, n4, ….\n")


async def test_the_landing_page_shows_how_each_node_is() -> None:
    async with serving(*NODES[:3]) as site:
        seen(site, NODES[0])
        seen(site, NODES[1], DOWN)
        answer = await site.ask("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    rows = [line for line in answer.text.splitlines() if line.startswith('<tr id="n')]
    assert ['class="up">up' in row for row in rows] == [True, False, False]
    assert "down: engine: permission: no right<" in rows[1]
    assert "not yet looked at" in rows[2]
    assert "ssh://n0.example.com" in rows[0]
    for path in ("/metrics", "/api/v1/prunes", "/-/healthy", "/-/ready"):
        assert f'href="{path}"' in answer.text


async def test_the_landing_page_shows_what_else_could_not_be_looked_at() -> None:
    """But not what fails for the reason for which the node is down."""
    collectors = {
        name: CollectorState(False, 0.1, None, 0, Failure(Layer.ENGINE, reason, "too bad"))
        for name, reason in (("disk", Reason.PROTOCOL), ("cache", Reason.PERMISSION))
    }
    async with serving(NODES[0]) as site:
        for reachability, told in ((UP, True), (DOWN, False)):
            node = replace(known(), node=NODES[0], reachability=learned(reachability))
            site.know(replace(node, collectors=collectors))
            page = (await site.ask("/")).text
            assert "disk: protocol: too bad<" in page
            assert ("cache: permission: too bad<" in page) is told


EVIL = "<script>alert('x')</script>"


async def test_nothing_that_a_node_says_becomes_markup() -> None:
    node = NodeSpec(EVIL, SshEndpoint('"><img src=x>'))
    down = replace(DOWN, failure=Failure(Layer.ENGINE, Reason.ENGINE, EVIL))
    async with serving(node) as site:
        seen(site, node, down)
        answer = await site.ask("/")
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert answer.text.count("&lt;script&gt;") == 3
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nothing", "GET", 404), ("/metrics/", "GET", 404), ("/metrics", "POST", 405)],
)
async def test_what_is_not_there(path: str, method: str, status: int) -> None:
    async with serving() as site:
        assert (await site.ask(path, method)).status == status


async def test_a_port_in_use_is_an_error_and_leaves_nothing_open() -> None:
    async with serving() as site, serving() as other:
        await other.server.stop()
        with pytest.raises(OSError, match="address already in use"):
            await other.server.start(LOOPBACK, site.port)
        assert (await site.ask("/-/healthy")).status == 200


@pytest.mark.parametrize(
    ("host", "name"), [("127.0.0.1", "127.0.0.1"), (None, "localhost"), ("::1", "[::1]")]
)
async def test_the_url_that_is_told_answers(host: str | None, name: str) -> None:
    async with serving() as site:
        await site.server.stop()
        assert await site.server.start(host, site.port) == [f"http://{name}:{site.port}"]
        async with site.session.get(f"http://{name}:{site.port}/-/healthy") as response:
            assert response.status == 200


async def test_after_the_end_nobody_listens() -> None:
    async with serving() as site:
        port = site.port
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, port)) != 0


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, ""),
        ((Builds("a", True, 1), Builds("b", True)), "1 build running, 0 so far"),
        (
            (
                Builds("a", True, 2, BuildCounts(total=9, failed=1)),
                Builds("b", True, 1, BuildCounts(total=30)),
                Builds("c", False),
            ),
            "3 builds running, 39 so far, 1 failed",
        ),
        ((Builds("docker", False),), "keeps no build history"),
    ],
)
async def test_the_landing_page_adds_up_a_nodes_builds(
    found: tuple[Builds, ...] | None, said: str
) -> None:
    async with serving(NODES[0]) as site:
        known = learned(found) if found is not None else None
        site.know(Snapshot(NODES[0], reachability=learned(UP), builds=known))
        page = (await site.ask("/")).text
    assert f"</td><td>{said}</td>" in page


CANARY = CanaryRecord(
    id="1",
    node="n1",
    builder="farm0",
    platform="linux/arm64",
    emulated=True,
    trigger=CanaryTrigger.SCHEDULE,
    outcome=CanaryOutcome.OK,
    started_at=NOW,
    finished_at=NOW + 3,
    steps={Step.PULL: StepTime(0.3, cached=True), Step.CPU: StepTime(1.234)},
)


@dataclass
class Built:
    """Canaries as the page asks for them."""

    latest: dict[CanaryKey, CanaryRecord]

    async def recent(self, *_: object) -> list[CanaryRecord]:
        raise AssertionError("the page waits for no database")

    async def recent_multiarch(self, *_: object) -> list[MultiarchRecord]:
        raise AssertionError("the page waits for no database")


async def test_the_landing_page_shows_the_latest_canaries() -> None:
    failed = replace(
        CANARY, platform="linux/amd64", emulated=False, outcome=CanaryOutcome.FAILED, detail="a<b"
    )
    latest = {record.key: record for record in (CANARY, failed)}
    async with serving(NODES[0], built=Built(latest)) as site:
        page = (await site.ask("/")).text
    first, second = (line for line in page.splitlines() if "farm0" in line)
    assert "linux/amd64, native" in first
    assert '<span class="down">failed: a&lt;b</span>' in first
    assert "linux/arm64, emulated" in second
    for step, said in (("pull", "cached"), ("cpu", "1.23 s"), ("disk", ""), ("export", "")):
        assert f'data-step="{step}">{said}</td>' in second
    assert '<span class="up">ok</span>' in second


async def test_without_canaries_the_landing_page_has_no_table_of_them() -> None:
    async with serving(NODES[0]) as site:
        assert "Latest canary builds" not in (await site.ask("/")).text
