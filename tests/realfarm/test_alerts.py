"""What happens to real nodes, as a real Alertmanager hears it: from the daemon, from a real
Prometheus with the exporter's rules, and from both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.realfarm import breaking, oci, servers
from tests.realfarm.alertmanager import (
    Alertmanager,
    Receiver,
    alertmanager,
    receiving,
    sent_more,
)
from tests.realfarm.canaries import SMALL
from tests.realfarm.daemon import COMMAND, Daemon, Scrape, running
from tests.realfarm.farm import Farm
from tests.realfarm.prometheus import Prometheus, scraping
from tests.realfarm.pruning import QUICK
from tests.realfarm.shell import run, wait_for
from tests.realfarm.watching import wait_all_fresh

WAYS = ("push", "rules", "both")
SITE = "http://farm.example:9972"
LATER = "library/later"
"""An image that is not there at first: the canary on ``kitd`` fails for want of it."""

# What could be a consequence of an unreachable node would be told before that is.
CHANGES: dict[str, dict[str, str]] = {
    "BuildFarmNodeUnreachable": {"for": "10s"},
    "BuildFarmBuilderDown": {"for": "5s"},
    "BuildFarmCollectorFailing": {"for": "5s"},
    "BuildFarmPlatformEmulated": {"for": "5s"},
    "BuildFarmDiskLow": {"for": "3s", "severity": "page"},
}

WANTED: dict[str, dict[str, str]] = {
    "BuildFarmDiskLow": {"node": "local", "severity": "page", "rack": "r1"},
    "BuildFarmNodeUnreachable": {"node": "new", "severity": "critical"},
    "BuildFarmCertificateExpiring": {"node": "tls", "severity": "warning", "side": "server"},
    "BuildFarmCanaryFailed": {
        "node": "kitd",
        "severity": "warning",
        "builder": "buildkitd",
        "platform": "linux/amd64",
    },
}
"""All labels of each alert, without its name, the farm's own label, and paths of this machine."""


@dataclass(frozen=True)
class Moment:
    """What everybody said while all was wrong at once."""

    alertmanagers: dict[str, list[dict[str, Any]]]
    daemon: list[dict[str, Any]]
    scrape: Scrape
    runbooks: dict[str, int]
    page: str


@dataclass(frozen=True)
class Story:
    """All four troubles at once, and their end."""

    well: list[dict[str, Any]]
    """The daemon's alerts before that."""
    trouble: Moment
    receiver: Receiver
    disk: str


@pytest.fixture(scope="module")
def story(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("alerts")
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        managers = {
            way: stack.enter_context(alertmanager(folder / way, receiver.url(way))) for way in WAYS
        }
        env = farm.client.env | {"XDG_STATE_HOME": str(folder)}
        site = f"--web.external-url={SITE}"
        pushed = [managers[way].url for way in ("push", "both")]
        daemon = stack.enter_context(running(_config(farm, pushed), folder, env, site))
        argv: list[str | Path] = [COMMAND, "rules", f"--config={daemon.config}", site]
        prometheus = stack.enter_context(
            scraping(
                daemon,
                folder,
                "1s",
                run(argv, env=env).stdout,
                [f"127.0.0.1:{managers[way].port}" for way in ("rules", "both")],
            )
        )
        yield _live(farm, daemon, prometheus, managers, receiver)


def _config(farm: Farm, alertmanagers: list[str]) -> dict[str, Any]:
    canary = {"every": "20s", "workload": SMALL, "timeout": "1m"}
    config = farm.config(
        collect=QUICK,
        canary=canary,
        alerting={
            "alertmanagers": [{"url": url} for url in alertmanagers],
            "labels": {"farm": "ci"},
            "resend": "1s",
            "alerts": CHANGES,
        },
    )
    own: dict[str, dict[str, Any]] = {
        "old": {"canary": False},
        "tls": {"canary": False},
        "local": {"canary": False, "labels": {"rack": "r1"}},
        "kitd": {"canary": {"every": "3s", "base_image": f"docker.io/{LATER}:1"}},
    }
    config["nodes"] = [node | own.get(node["name"], {}) for node in config["nodes"]]
    return config


def _live(
    farm: Farm,
    daemon: Daemon,
    prometheus: Prometheus,
    managers: dict[str, Alertmanager],
    receiver: Receiver,
) -> Story:
    def everywhere(what: str, holds: Callable[[Alertmanager, str], bool]) -> None:
        def why() -> str:
            known = {way: [a["labels"] for a in m.alerts()] for way, m in managers.items()}
            return f"{known}\n{daemon.said()}\n{prometheus.said()}"

        wait_for(
            what,
            lambda: all(holds(manager, name) for manager in managers.values() for name in WANTED),
            timeout=90,
            why=why,
        )

    def there(manager: Alertmanager, name: str) -> bool:
        return bool(manager.alerts(alertname=name, node=WANTED[name]["node"]))

    wait_all_fresh(daemon, farm.nodes)
    well = daemon.json("/api/v1/alerts")["alerts"]
    soon = farm.client.authority.server(farm["tls"].address, valid_for=timedelta(days=5))
    with (
        farm["local"].disk.filled(leave_mb=50),
        farm["tls"].certificate(soon),
        breaking.sshd_stopped(farm, farm["new"]),
    ):
        everywhere("all to be told", there)
        wait_for("a notification of each", lambda: _all_told(receiver, ["firing"]), timeout=30)
        trouble = _look(daemon, managers)
    image = farm.artifacts.images / "busybox"
    oci.push(image, farm.hub.address, servers.REGISTRY_PORT, LATER, ("1",))
    everywhere("all to end", lambda manager, name: not there(manager, name))
    wait_for("their ends to be told", lambda: _all_told(receiver, ["firing", "resolved"]))
    # Whoever says it twice says it now.
    daemon.wait("more to be sent", sent_more(daemon.scrape(), 10))
    disk = next(iter(trouble.scrape.all("buildfarm_disk_size_bytes", node="local")))
    return Story(well, trouble, receiver, dict(disk)["path"])


def _all_told(receiver: Receiver, statuses: list[str]) -> bool:
    return all(
        len(receiver.statuses(way, alertname=name, node=labels["node"])) >= len(statuses)
        for way in WAYS
        for name, labels in WANTED.items()
    )


def _look(daemon: Daemon, managers: dict[str, Alertmanager]) -> Moment:
    alerts = {way: manager.alerts() for way, manager in managers.items()}
    links = {a["annotations"]["runbook_url"] for found in alerts.values() for a in found}
    return Moment(
        alerts,
        daemon.json("/api/v1/alerts")["alerts"],
        daemon.scrape(),
        {link: daemon.get(link.removeprefix(SITE))[0] for link in links},
        daemon.get("/")[1],
    )


def labels_of(story: Story, name: str) -> dict[str, str]:
    """All labels that an alert must have, and no other."""
    path = {"path": story.disk} if name == "BuildFarmDiskLow" else {}
    return {"alertname": name, "farm": "ci", **WANTED[name], **path}


def test_a_farm_that_is_well_raises_nothing(story: Story) -> None:
    """Nothing is even pending, but for the canary that can't be built from the start."""
    assert {alert["alertname"] for alert in story.well} <= {"BuildFarmCanaryFailed"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WANTED)
def test_it_is_one_alert_with_these_labels(story: Story, way: str, name: str) -> None:
    """Exactly these, whoever raised it: where both did, Alertmanager took them for one."""
    node = WANTED[name]["node"]
    found = [
        alert["labels"]
        for alert in story.trouble.alertmanagers[way]
        if (alert["labels"]["alertname"], alert["labels"]["node"]) == (name, node)
    ]
    assert found == [labels_of(story, name)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WANTED)
def test_it_is_told_once_and_so_is_its_end(story: Story, way: str, name: str) -> None:
    assert story.receiver.statuses(way, **labels_of(story, name)) == ["firing", "resolved"]


@pytest.mark.parametrize("way", WAYS)
def test_an_unreachable_node_is_one_alert(story: Story, way: str) -> None:
    """Its builders, collectors and canaries are not told of as well, then or later."""
    found = [told.labels["alertname"] for told in story.receiver.told(way, node="new")]
    assert set(found) == {"BuildFarmNodeUnreachable"}


def test_the_daemon_says_the_same_as_alertmanager(story: Story) -> None:
    """Its API and its metric."""
    moment = story.trouble
    own = [
        json.dumps({"alertname": alert["alertname"], **alert["labels"]}, sort_keys=True)
        for alert in moment.daemon
        if alert["state"] == "firing"
    ]
    told = [json.dumps(alert["labels"], sort_keys=True) for alert in moment.alertmanagers["push"]]
    assert sorted(own) == sorted(told)
    for name in WANTED:
        firing = [a for a in moment.alertmanagers["push"] if a["labels"]["alertname"] == name]
        shown = moment.scrape.value("buildfarm_alerts", alertname=name, state="firing")
        assert shown == len(firing)


def test_links_lead_to_the_exporter(story: Story) -> None:
    """To a page about the alert, and to the node on its page of nodes."""
    assert set(story.trouble.runbooks.values()) == {200}
    for alert in story.trouble.alertmanagers["push"]:
        labels = alert["labels"]
        assert alert["annotations"]["runbook_url"] == f"{SITE}/runbooks/{labels['alertname']}"
        assert alert["generatorURL"] == f"{SITE}/#{labels['node']}"
        assert f'id="{labels["node"]}"' in story.trouble.page
