"""``/metrics`` over HTTP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from exporter.exposition.page import Page
from exporter.model import CacheType
from tests.exposition.known import cache, known, learned
from tests.web.serving import LOOPBACK, Site, serving

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving(known().node) as site:
        site.know(known())
        yield site


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
    ],
    ids=["anything", "a browser", "Prometheus", "text preferred"],
)
async def test_the_format_that_is_asked_for(site: Site, accept: str, kind: str) -> None:
    answer = await site.ask("/metrics", accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.body.endswith(b"# EOF\n") is ("openmetrics" in kind)
    assert 'buildfarm_node_up{node="amd64-1"} 1\n' in answer.text


@pytest.mark.parametrize("large", [False, True])
async def test_gzip_on_request(site: Site, large: bool) -> None:
    if large:
        types = {f"type{number}": CacheType(number, 1) for number in range(2000)}
        site.know(replace(known(), cache=learned((replace(cache("docker"), types=types),))))
    packed = await site.ask("/metrics", accept_encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = gzip.decompress(packed.body).decode()
    assert 'buildfarm_node_up{node="amd64-1"} 1\n' in plain
    assert ('record_type="type1999"' in plain) is large
    assert len(packed.body) < len(plain) / 2


@pytest.mark.parametrize("encoding", ["identity", "gzip;q=0", "br"])
async def test_no_gzip_where_it_is_not_wanted(site: Site, encoding: str) -> None:
    answer = await site.ask("/metrics", accept_encoding=encoding)
    assert "Content-Encoding" not in answer.headers
    assert answer.text.startswith("# HELP")


async def test_caches_are_told_what_the_answer_depends_on(site: Site) -> None:
    assert (await site.ask("/metrics")).headers["Vary"] == "Accept, Accept-Encoding"


async def test_head_has_the_headers_only(site: Site) -> None:
    answer = await site.ask("/metrics", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1000


async def test_the_daemon_s_own_metrics_are_there(site: Site) -> None:
    assert 'buildfarm_exporter_build_info{python_version="3.' in (await site.ask("/metrics")).text


async def stuck_client(site: Site) -> asyncio.StreamWriter:
    """A client that asks for much more than sockets hold, and never reads."""
    reader, writer = await asyncio.open_connection(LOOPBACK, site.port, limit=1024)
    del reader
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    await writer.drain()
    return writer


@pytest.fixture
def huge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Page, "render", lambda *_: ("text/plain", b"#\n" * 4_000_000))


@pytest.mark.usefixtures("huge")
async def test_a_client_that_reads_nothing_delays_no_other(site: Site) -> None:
    stuck = await stuck_client(site)
    for _ in range(3):
        assert len((await site.ask("/metrics")).body) == 8_000_000
    stuck.close()


@pytest.mark.usefixtures("huge")
async def test_a_client_that_reads_nothing_does_not_hold_up_the_end(site: Site) -> None:
    stuck = await stuck_client(site)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(15):
        await site.server.stop()
    stuck.close()
