"""``/api/v1/alerts``, the page's alerts and the runbooks over the wire."""

from __future__ import annotations

import json

import pytest

from exporter.alerts import Alert, AlertPhase
from exporter.config.alerts import ALERTS
from exporter.model import NodeSpec, UnixEndpoint
from exporter.web.alerts import ShownAlert
from tests.web.serving import serving

NODE = NodeSpec("a", UnixEndpoint("/s"))
LABELS = (("node", "a"), ("path", "/d"))


def shown(name: str, phase: AlertPhase, summary: str = "") -> ShownAlert:
    alert = Alert(name, LABELS, 5.0, 0.25, phase, fired_at=10.0)
    return ShownAlert(alert, {"severity": "page", **dict(LABELS)}, {"summary": summary})


FIRING = shown("BuildFarmDiskLow", AlertPhase.FIRING, "<b>25 % is free</b>")
PENDING = shown("BuildFarmInodesLow", AlertPhase.PENDING, "so far nothing")


async def test_everything_about_an_alert() -> None:
    async with serving(NODE, alerts=[FIRING]) as site:
        answer = await site.ask("/api/v1/alerts")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.text) == {
        "alerts": [
            {
                "alertname": "BuildFarmDiskLow",
                "state": "firing",
                "labels": {"severity": "page", "node": "a", "path": "/d"},
                "annotations": {"summary": "<b>25 % is free</b>"},
                "value": 0.25,
                "active_since": 5.0,
                "fired_at": 10.0,
                "resolved_at": None,
            }
        ]
    }


async def test_all_are_there_in_their_order() -> None:
    async with serving(NODE, alerts=[FIRING, PENDING]) as site:
        found = json.loads((await site.ask("/api/v1/alerts")).text)["alerts"]
    assert [alert["state"] for alert in found] == ["firing", "pending"]


async def test_there_are_none() -> None:
    async with serving(NODE) as site:
        assert json.loads((await site.ask("/api/v1/alerts")).text) == {"alerts": []}


async def test_the_page_shows_what_is_firing() -> None:
    """With a link to what to do about it, and as text: a summary is no markup."""
    async with serving(NODE, alerts=[FIRING, PENDING]) as site:
        page = (await site.ask("/")).text
    assert '<a href="/runbooks/BuildFarmDiskLow">BuildFarmDiskLow</a>' in page
    assert "&lt;b&gt;25 % is free" in page
    assert "BuildFarmInodesLow" not in page


@pytest.mark.parametrize("name", ALERTS)
async def test_every_alert_has_its_page(name: str) -> None:
    async with serving(NODE) as site:
        answer = await site.ask(f"/runbooks/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text.startswith(f"# {name}\n")


@pytest.mark.parametrize(
    "path",
    [
        "BuildFarmNothing",
        "BuildFarmDiskLow.md",
        "buildfarmdisklow",
        "BuildFarmDiskLow/",
        "..%2Fserver.py",
        "..%2f..%2fapp.py",
        "..%2Frunbooks%2FBuildFarmDiskLow",
        "%2Fetc%2Fpasswd",
        "BuildFarmDiskLow%00",
        "",
    ],
)
async def test_there_is_no_other_page(path: str) -> None:
    """No file is opened for a request: all pages are in memory."""
    async with serving(NODE) as site:
        answer = await site.ask(f"/runbooks/{path}")
    assert answer.status == 404
    assert "# BuildFarm" not in answer.text


async def test_who_asks_for_an_unknown_page_is_told_which_there_are() -> None:
    async with serving(NODE) as site:
        said = (await site.ask("/runbooks/BuildFarmNothing")).text
    assert said.startswith("No such alert. There are:\n")
    assert set(said.split()) >= set(ALERTS)


async def test_the_runbooks_are_listed() -> None:
    async with serving(NODE) as site:
        answer = await site.ask("/runbooks")
    assert (answer.status, answer.text.split()) == (200, sorted(ALERTS))
