"""The compose file names only what is there, and runs what the command line takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from exporter.cli.main import app

DEPLOY = Path(__file__).parent.parent / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_is_there_and_every_volume_declared(name: str) -> None:
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).resolve().exists(), mount
        else:
            assert source in COMPOSE["volumes"]
    if build := SERVICES[name].get("build"):
        assert (DEPLOY / build / "Dockerfile").is_file()


def test_nothing_listens_beyond_this_machine() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_exporters_command_is_one() -> None:
    command, option, _ = SERVICES["exporter"]["command"]
    said = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert option in said


def test_the_servers_find_each_other() -> None:
    """By the names that the services have, at the ports that they listen on."""
    prometheus = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    (manager,) = prometheus["alerting"]["alertmanagers"]
    for config, port in ((job, "9972"), (manager, "9093")):
        ((target,),) = [each["targets"] for each in config["static_configs"]]
        host, _, at = target.partition(":")
        aliases = SERVICES["exporter"]["networks"]["default"]["aliases"]
        assert host in {*SERVICES, *aliases}
        assert at == port
    (mounted,) = [v for v in SERVICES["prometheus"]["volumes"] if "rules" in v]
    assert mounted.split(":")[1].endswith(prometheus["rule_files"][0])
