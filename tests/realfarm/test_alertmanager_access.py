"""An Alertmanager that does not let everybody in: TLS and a password, right and wrong."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.realfarm.alertmanager import Alertmanager, alertmanager, receiving
from tests.realfarm.daemon import Daemon, running
from tests.realfarm.farm import Farm
from tests.realfarm.pki import Authority
from tests.realfarm.shell import wait_for

USER, PASSWORD = "farm", "sesame"
# bcrypt's hash of the password.
HASH = "$2b$04$heoeDRrm5KSH0JgmovtZp.KnJ.HgpuVbySQiBoBPn1ELoPXiejDAa"
NAME = "alertmanager.farm"
WELL = ("by-address", "by-name")
WRONG = {
    "wrong-password": "HTTP 401: Unauthorized",
    "no-password": "HTTP 401: Unauthorized",
    "wrong-authority": "its certificate: unable to get local issuer certificate",
    "wrong-name": "its certificate: IP address mismatch, certificate is not valid for '127.0.0.1'.",
}
"""What the log says of each."""


@dataclass(frozen=True)
class Story:
    daemon: Daemon
    managers: dict[str, Alertmanager]

    def counted(self, what: str, name: str) -> float:
        """How many notifications of a kind one Alertmanager has in the daemon's metrics."""
        metric = f"buildfarm_alertmanager_notifications{what}_total"
        return self.daemon.scrape().value(metric, alertmanager=self.managers[name].url)


@pytest.fixture(scope="module")
def story(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """One daemon tells all of them."""
    folder = tmp_path_factory.mktemp("access")
    authority, foreign = Authority("alertmanagers"), Authority("others")
    for name, one in (("ca", authority), ("foreign", foreign)):
        (folder / f"{name}.pem").write_bytes(one.certificate)
    settings: dict[str, dict[str, Any]] = {
        "by-address": {},
        "by-name": {"tls": {"ca": str(folder / "ca.pem"), "server_name": NAME}},
        "wrong-password": {"basic_auth": {"username": USER, "password": "simsalabim"}},
        "no-password": {"basic_auth": None},
        "wrong-authority": {"tls": {"ca": str(folder / "foreign.pem")}},
        "wrong-name": {},
    }
    with ExitStack() as stack:
        receiver = stack.enter_context(receiving())
        managers, told = {}, []
        for name, own in settings.items():
            host = NAME if name.endswith("-name") else "127.0.0.1"
            arguments = _protect(folder / name, authority, host)
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            context.check_hostname = False
            options = {"arguments": arguments, "tls": context, "auth": (USER, PASSWORD)}
            made = alertmanager(folder / name, receiver.url(name), **options)
            managers[name] = stack.enter_context(made)
            usual = {
                "url": managers[name].url,
                "tls": {"ca": str(folder / "ca.pem")},
                "basic_auth": {"username": USER, "password": PASSWORD},
            }
            told.append(usual | own)
        config = farm.config("local", alerting=_always_firing(told))
        env = farm.client.env | {"XDG_STATE_HOME": str(folder)}
        yield Story(stack.enter_context(running(config, folder, env)), managers)


def _protect(folder: Path, authority: Authority, host: str) -> list[str]:
    """Write the web configuration of one Alertmanager; the options that make it be read."""
    authority.server(host).write(folder, "web")
    web = {
        "tls_server_config": {"cert_file": "web.pem", "key_file": "web-key.pem"},
        "basic_auth_users": {USER: HASH},
    }
    (folder / "web.yml").write_text(yaml.safe_dump(web))
    return [f"--web.config.file={folder / 'web.yml'}"]


def _always_firing(alertmanagers: list[dict[str, Any]]) -> dict[str, Any]:
    disk = {"for": "0s", "below": "1PB"}
    return {"alertmanagers": alertmanagers, "resend": "5s", "alerts": {"BuildFarmDiskLow": disk}}


@pytest.mark.parametrize("name", WELL)
def test_who_is_let_in(story: Story, name: str) -> None:
    """The certificate is checked, for the address or for the name in the settings."""
    manager = story.managers[name]
    wait_for("the alert", lambda: manager.alerts(node="local"), why=story.daemon.said)
    wait_for("it to be counted", lambda: story.counted("", name))
    assert story.counted("_failed", name) == 0


@pytest.mark.parametrize("name", WRONG)
def test_who_is_not(story: Story, name: str) -> None:
    """It is counted, and told once in the log, with the reason and without the password."""
    wait_for("two failures", lambda: story.counted("_failed", name) >= 2, why=story.daemon.said)
    assert story.counted("", name) == 0
    assert story.managers[name].alerts() == []
    log = story.daemon.log.read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    said = [line["error"] for line in lines if line.get("alertmanager") == story.managers[name].url]
    assert said == [WRONG[name]]
    assert "simsalabim" not in log
