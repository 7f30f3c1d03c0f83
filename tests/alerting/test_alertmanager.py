"""The sender of one Alertmanager, against a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from exporter.alerting import alertmanager
from exporter.alerting.alertmanager import Alertmanager, moment
from exporter.alerts import AlertmanagerSettings
from exporter.model import TlsFiles
from tests.alerting.receiver import receiving
from tests.support.pki import Authority

ONE = [{"labels": {"alertname": "A"}}]
TWO = [{"labels": {"alertname": "A"}}, {"labels": {"alertname": "B"}}]


@dataclass
class Counts:
    """What a sender tells of itself."""

    sent_: int = 0
    failed_: int = 0
    waiting_: int = -1
    urls: set[str] = field(default_factory=set)
    failures: asyncio.Event = field(default_factory=asyncio.Event)

    def sent(self, url: str, number: int) -> None:
        self.urls.add(url)
        self.sent_ += number

    def failed(self, url: str, number: int) -> None:
        self.failed_ += number
        self.failures.set()

    def waiting(self, url: str, number: int) -> None:
        self.waiting_ = number

    async def settled(self) -> None:
        """Wait until nothing waits."""
        async with asyncio.timeout(20):
            while self.waiting_:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def sender(settings: AlertmanagerSettings, counts: Counts) -> AsyncIterator[Alertmanager]:
    async with Alertmanager(settings, counts, Random(1)) as manager:
        task = asyncio.create_task(manager.run())
        yield manager
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(alertmanager, "_FIRST_PAUSE", 0.01)


async def test_what_is_offered_arrives() -> None:
    counts = Counts()
    async with receiving() as there, sender(AlertmanagerSettings(there.url + "/"), counts) as it:
        assert counts.waiting_ == 0
        it.offer(TWO, 7.0)
        assert counts.waiting_ == 2
        await there.until(1)
        assert there.posts == [TWO]
        it.offer(ONE, 1.0)
        await there.until(2)
        await counts.settled()
    assert counts == Counts(3, 0, 0, {there.url}, counts.failures)


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"bearer_token": "abc"}, "Bearer abc"),
        ({"username": "me", "password": "pa:ss"}, "Basic bWU6cGE6c3M="),
    ],
)
async def test_it_says_who_it_is(settings: dict[str, str], header: str) -> None:
    async with (
        receiving() as there,
        sender(AlertmanagerSettings(there.url, **settings), Counts()) as it,  # type: ignore[arg-type]
    ):
        it.offer(ONE, 1.0)
        await there.until(1)
    assert there.headers[0]["Authorization"] == header


async def test_who_was_away_gets_what_is_current() -> None:
    """Of what was offered meanwhile only the last; told once in the log."""
    counts = Counts()
    async with receiving() as there:
        there.status = 503
        with capture_logs() as logs:
            async with sender(AlertmanagerSettings(there.url), counts) as it:
                it.offer(ONE, 1.0)
                await there.until(3)
                assert counts.waiting_ == 1
                it.offer(TWO, 7.0)
                assert it.told_at == -inf
                there.status = 200
                seen = len(there.posts)
                await there.until(seen + 1)
                await counts.settled()
                assert it.told_at == 7.0
    assert there.posts[-1] == TWO
    assert counts.failed_ >= 3
    assert [entry["event"] for entry in logs] == [
        "can't tell Alertmanager",
        "Alertmanager hears again",
    ]
    assert logs[0]["error"] == "HTTP 503: no such thing"


async def test_nobody_listens() -> None:
    """The reason is told, and nothing that is secret."""
    counts = Counts()
    async with receiving() as there:
        url = there.url
    with capture_logs() as logs:
        async with sender(
            AlertmanagerSettings(url, password="geheim", username="me"), counts
        ) as it:
            it.offer(ONE, 1.0)
            async with asyncio.timeout(20):
                await counts.failures.wait()
    assert (logs[0]["alertmanager"], logs[0]["error"]) == (url, "Connection refused")
    assert "geheim" not in str(logs)


async def test_who_sends_us_elsewhere_was_not_told() -> None:
    """A POST that follows a redirect becomes a GET, and is answered with 200."""
    counts = Counts()
    async with receiving() as there, receiving() as elsewhere:
        there.status, there.location = 301, f"{elsewhere.url}/api/v2/alerts"
        with capture_logs() as logs:
            async with sender(AlertmanagerSettings(there.url), counts) as it:
                it.offer(ONE, 1.0)
                async with asyncio.timeout(20):
                    await counts.failures.wait()
    assert logs[0]["error"] == f"HTTP 301: it is at {elsewhere.url}/api/v2/alerts"
    assert (counts.sent_, it.told_at) == (0, -inf)


async def test_a_server_that_is_not_who_it_should_be(tmp_path: Path) -> None:
    """What is wrong with its certificate is told, not a number of the system's."""
    right, other = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    counts = Counts()
    async with receiving(tls=right.issue("127.0.0.1")) as there:
        settings = AlertmanagerSettings(there.url, tls=TlsFiles(ca=other.ca))
        with capture_logs() as logs:
            async with sender(settings, counts) as it:
                it.offer(ONE, 1.0)
                async with asyncio.timeout(20):
                    await counts.failures.wait()
    assert logs[0]["error"].startswith("its certificate: ")


async def test_one_that_does_not_answer_is_given_up() -> None:
    counts = Counts()
    async with receiving() as there:
        there.silent = True
        with capture_logs() as logs:
            async with sender(AlertmanagerSettings(there.url, timeout=0.1), counts) as it:
                it.offer(ONE, 1.0)
                async with asyncio.timeout(20):
                    await counts.failures.wait()
    assert logs[0]["error"] == "no answer within 0.1 s"


async def test_nothing_to_tell_is_not_sent() -> None:
    counts = Counts()
    async with receiving() as there, sender(AlertmanagerSettings(there.url), counts) as it:
        it.offer([], 1.0)
        it.offer(ONE, 1.0)
        await there.until(1)
    assert there.posts == [ONE]


async def test_a_bug_does_not_end_the_sender() -> None:
    """It is counted, told, and tried again after a pause."""
    counts = Counts()
    async with receiving() as there:
        with capture_logs() as logs:
            async with sender(AlertmanagerSettings(there.url), counts) as it:
                it.offer([{"labels": object()}], 1.0)
                async with asyncio.timeout(20):
                    await counts.failures.wait()
                it.offer(ONE, 2.0)
                await there.until(1)
                await counts.settled()
                assert it.told_at == 2.0
    assert there.posts == [ONE]
    assert (logs[0]["log_level"], logs[-1]["event"]) == ("error", "Alertmanager hears again")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://proxy/am1", "http://proxy/am1"),
        ("http://proxy/am2/", "http://proxy/am2"),
        ("https://me:geheim@proxy:9093/am?token=geheim", "https://proxy:9093/am"),
        ("http://[2001:db8::1]:9093", "http://[2001:db8::1]:9093"),
    ],
)
def test_its_name_tells_it_from_others_and_no_secrets(url: str, name: str) -> None:
    assert Alertmanager(AlertmanagerSettings(url), Counts(), Random(1)).name == name


def test_a_moment_has_its_zone() -> None:
    assert moment(1_700_000_000.1234) == "2023-11-14T22:13:20.123+00:00"
