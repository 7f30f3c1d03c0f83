"""What README and docs tell people to type and to write works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from exporter.cli.main import app
from exporter.config.load import load
from exporter.exposition.alerts import AlertMetrics
from exporter.exposition.canaries import CanaryMetrics
from exporter.exposition.families import FAMILIES
from exporter.exposition.prunes import PruneMetrics
from tests.support.pki import Authority

ROOT = Path(__file__).parent.parent
COMMANDS = app.registered_commands
PAGES = ("README.md", "docs/pruning.md", "docs/canaries.md", "docs/alerting.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )


CONFIGS = [text for page in PAGES for text in blocks(page, "yaml") if "nodes:" in text]


@pytest.mark.parametrize("text", CONFIGS)
def test_configurations_are_right(text: str, tmp_path: Path) -> None:
    """Every configuration shown can be used as it is, and without a warning."""
    authority = Authority(tmp_path / "made")
    issued = authority.issue("client")
    for name, path in (("ca", authority.ca), ("cert", issued.cert), ("key", issued.key)):
        (tmp_path / f"{name}.pem").write_bytes(path.read_bytes())
        (tmp_path / f"{name}.pem").chmod(0o600)
    file = tmp_path / "farm.yml"
    file.write_text(text)
    config = load(file, environ={"HOME": str(tmp_path)})
    assert config.nodes
    assert not config.warnings


def test_the_first_configuration_is_a_farm_of_three() -> None:
    """Two amd64 nodes over SSH, one arm64 node over TLS."""
    nodes = yaml.safe_load(CONFIGS[0])["nodes"]
    schemes = [node["endpoint"].partition("://")[0] for node in nodes]
    assert schemes == ["ssh", "ssh", "tcp"]
    assert [node["platforms"] for node in nodes] == [["linux/amd64"]] * 2 + [["linux/arm64"]]


def test_commands_are_all_there() -> None:
    """The table of commands names each one, and no other."""
    text = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"^\| `buildfarm-exporter \[?(\w+)", text, re.MULTILINE))
    known = {command.name or getattr(command.callback, "__name__", "") for command in COMMANDS}
    assert shown == known | {group.name for group in app.registered_groups}


@pytest.mark.parametrize("page", PAGES)
def test_options_are_all_there(page: str) -> None:
    """Every command line shown is one that the command takes."""
    lines = re.findall(
        r"^    buildfarm-exporter (builder \w+|\w+)([^#\n]*)",
        (ROOT / page).read_text(),
        re.MULTILINE,
    )
    assert lines
    for command, rest in lines:
        argv = [*command.split(), "--help"]
        said = CliRunner().invoke(app, argv, env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[\w.-]+", rest):
            assert option in said


def served() -> set[str]:
    """Names of all metrics that the daemon serves."""
    registry = CollectorRegistry()
    PruneMetrics(registry, ())
    CanaryMetrics(registry, ())
    AlertMetrics(registry, ())
    own = [metric.name for metric in registry.collect()]
    return {family.name for family in FAMILIES} | {n + end for n in own for end in ("", "_total")}


def test_metrics_are_all_there() -> None:
    """Every metric named is one that is served."""
    known = served()
    for page in PAGES:
        for name in re.findall(r"`(buildfarm_\w+)", (ROOT / page).read_text()):
            assert name in known, page


def test_make_targets_are_all_there() -> None:
    """`make run`, `make test` and the others exist."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"make ([a-z][a-z-]+)", (ROOT / "README.md").read_text())
    assert {"run", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
