"""The database's URL."""

from __future__ import annotations

import pytest

from exporter.config.storage import StorageSettings, storage_url
from tests.config.conftest import Place

NODES = "nodes: []\n"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        ("sqlite:///state/x.db", "sqlite:///{root}/state/x.db"),
        ("sqlite:///~/x.db", "sqlite:///{root}/home/x.db"),
        ("postgresql://me@db/farm", "postgresql://me@db/farm"),
        ("POSTGRESQL://db", "postgresql://db"),
    ],
)
def test_the_url(place: Place, written: str, url: str) -> None:
    """A file's relative path starts at the configuration file's directory."""
    config = place.load(f'{NODES}storage: {{url: "{written}"}}')
    assert config.storage_url == url.format(root=place.root)


@pytest.mark.parametrize(
    ("state", "file"),
    [
        ("/state", "/state/buildfarm-exporter/history.db"),
        ("relative", "{home}/.local/state/buildfarm-exporter/history.db"),
        ("", "{home}/.local/state/buildfarm-exporter/history.db"),
    ],
)
def test_by_default_a_file_among_the_users_state(place: Place, state: str, file: str) -> None:
    url = storage_url(StorageSettings(), {"XDG_STATE_HOME": state}, place.home)
    assert url == f"sqlite:///{file.format(home=place.home)}"


@pytest.mark.parametrize("key", ['url: "${DATABASE}"', "url_file: secret"])
def test_secrets_come_from_elsewhere_and_are_not_shown(place: Place, key: str) -> None:
    """The whole URL is there for whoever connects, and nothing of it in a repr."""
    secret = "postgresql://me:geheim@db/farm"
    place.environ["DATABASE"] = secret
    place.write("secret", f"{secret}\n")
    config = place.load(f"{NODES}storage: {{{key}}}")
    assert config.storage_url == secret
    assert "geheim" not in repr(config)


def test_a_wrong_secret_is_not_shown(place: Place) -> None:
    place.environ["DATABASE"] = "oracle://me:geheim@db"
    (problem,) = place.problems(f"{NODES}storage: {{url: '${{DATABASE}}'}}")
    assert problem.startswith("farm.yml:2: storage.url: not a database that can be used; write ")
    assert "geheim" not in problem
