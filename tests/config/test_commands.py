"""The configuration from the command line."""

from __future__ import annotations

import functools
import json

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from exporter.cli.main import app
from exporter.cli.setup import read_settings
from exporter.config.discover import discover
from exporter.model import Threshold
from tests.config.conftest import Place, store_node

PRUNE = "prune: {keep_storage: 20GB, when: {cache_above: 60GB}, max_parallel_per_platform: 3}"


@pytest.fixture
def user(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A user whose home is the place's."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "BUILDX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("BUILDX_BUILDER", "XDG_STATE_HOME", "BUILDFARM_EXPORTER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place.home))
    return place


def test_what_a_command_works_on(user: Place) -> None:
    """Nodes with their prune settings, the farm's limit, the database; its password unseen."""
    path = user.write(
        "farm.yml",
        f"nodes: [{{endpoint: 'ssh://a'}}]\n{PRUNE}\norphans: {{remove_after: 7d}}\n"
        "canary: {every: 6h, max_parallel: 4}\nstorage: {url: 'postgresql://me:geheim@db/farm'}\n",
    )
    settings = read_settings(path)
    (node,) = settings.nodes
    assert node.prune is not None
    assert node.prune.keep_storage == Threshold(bytes=20_000_000_000)
    assert (settings.prune_max_parallel, settings.canary_max_parallel) == (3, 4)
    assert settings.storage_url == "postgresql://me:geheim@db/farm"
    assert "geheim" not in repr(settings)
    assert settings.remarks == ()


def test_without_a_file(user: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own nodes, and history in the user's own directory."""
    user.builder("farm", "docker-container", store_node("farm0", "ssh://node9"))
    monkeypatch.setenv("BUILDX_BUILDER", "farm")
    settings = read_settings(None)
    assert "node9" in [node.name for node in settings.nodes]
    assert {node.prune for node in settings.nodes} == {None}
    assert settings.source == "the current buildx builder and local socket"
    file = user.home / ".local/state/buildfarm-exporter/history.db"
    assert settings.storage_url == f"sqlite:///{file}"


def test_mistakes_start_nothing(user: Place) -> None:
    """Every problem on a line of stderr, how many there are, exit code 2."""
    path = user.write("farm.yml", "nodes:\n  - endpoint: a\n    label: {}\nlogs: {}\n")
    result = CliRunner().invoke(app, ["check", "--config", str(path)])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"{path}:2: nodes[0].endpoint: an endpoint needs its scheme; write ssh://a",
        f"{path}:3: nodes[0].label: unknown key; did you mean 'labels'?",
        f"{path}:4: logs: unknown key; did you mean 'log'?",
        "3 problems; nothing was started.",
    ]


def test_discover_prints_a_file_that_loads(user: Place) -> None:
    """The file on stdout, what was left out on stderr."""
    user.builder("farm", "docker-container", store_node("farm0", "ssh://node9", "linux/arm64"))
    user.builder("cloud", "kubernetes")
    result = CliRunner().invoke(app, ["discover"])
    assert result.exit_code == 0
    assert result.stderr == "note: builder 'cloud': left out, its driver is kubernetes\n"
    config = user.load(result.stdout)
    assert ("node9", ("farm0",)) in [(node.name, node.builders) for node in config.nodes]


def test_discover_finds_nothing(user: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = functools.partial(discover, socket=user.root / "none")
    monkeypatch.setattr("exporter.cli.discover.discover", nowhere)
    result = CliRunner().invoke(app, ["discover"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Nothing found: no builder in the buildx store")


def test_the_schema_is_printed() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.stdout))
