"""Health, readiness, the landing page, and what is not there."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from exporter.errors import Layer, Reason
from exporter.model import CollectorState, Failure, NodeSpec, Reachability, SshEndpoint
from tests.exposition.known import DOWN, UP, known, learned
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
    rows = [line for line in answer.text.splitlines() if line.startswith('<tr><th scope="row">')]
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
    assert answer.text.count("&lt;script&gt;") == 2
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
