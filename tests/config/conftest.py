"""A directory with a configuration file in it, and with everything that such a file can name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from exporter.config.config import Config
from exporter.config.load import load
from exporter.errors import ConfigError
from tests.support.pki import Authority

MARK = "#! "


@dataclass(slots=True)
class Place:
    """Where a user's configuration, home and Docker stores are."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def file(self) -> Path:
        return self.root / "farm.yml"

    def write(self, name: str, text: str) -> Path:
        """Write a file below the directory."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path

    def load(self, text: str) -> Config:
        """Load this text as the configuration file."""
        self.write("farm.yml", text)
        return load(self.file, environ=self.environ, hostname="here", home=self.home)

    def problems(self, text: str) -> list[str]:
        """What a person is told of this text, paths relative to the directory."""
        with pytest.raises(ConfigError) as caught:
            self.load(text)
        return [problem.replace(f"{self.root}/", "") for problem in caught.value.problems]

    def warnings(self, text: str) -> list[str]:
        """The warnings of a good configuration, paths relative to the directory."""
        return [line.replace(f"{self.root}/", "") for line in self.load(text).warnings]

    def builder(self, name: str, driver: str, *nodes: Mapping[str, Any], **more: Any) -> Path:
        """Put a builder into the buildx store, as buildx writes it."""
        content = {"Name": name, "Driver": driver, "Nodes": list(nodes), "Dynamic": False, **more}
        return self.write(f"home/.docker/buildx/instances/{name}", json.dumps(content))

    def context(
        self, name: str, host: str, tls: Mapping[str, str] | None = None, **more: Any
    ) -> Path:
        """Put a Docker context into the store, as docker writes it."""
        digest = hashlib.sha256(name.encode()).hexdigest()
        for key, text in (tls or {}).items():
            self.write(f"home/.docker/contexts/tls/{digest}/docker/{key}.pem", text)
        endpoint = {"Host": host, "SkipTLSVerify": False, **more}
        content = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
        meta = f"home/.docker/contexts/meta/{digest}/meta.json"
        return self.write(meta, json.dumps(content))


def store_node(name: str, endpoint: str, *platforms: str, **options: str) -> dict[str, Any]:
    """A node in a builder of the buildx store."""
    keys = ("os", "architecture", "variant")
    return {
        "Name": name,
        "Endpoint": endpoint,
        "Platforms": [dict(zip(keys, text.split("/"), strict=False)) for text in platforms] or None,
        "DriverOpts": options or None,
        "Flags": ["--allow-insecure-entitlement=network.host"],
        "Files": None,
    }


def told(text: str, file: str = "farm.yml") -> list[str]:
    """The problems that stand as ``#! …`` comments on the lines that they are about."""
    lines: Sequence[str] = text.splitlines()
    return [
        f"{file}:{number}: {message.strip()}"
        for number, line in enumerate(lines, start=1)
        for message in line.split(MARK)[1:]
    ]


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Key files by name, right and wrong ones, as text."""
    authority = Authority(tmp_path_factory.mktemp("pki"))
    client, other = authority.issue("client"), authority.issue("other")
    locked = authority.issue("locked", password=b"secret")
    ca, ssh = authority.ca.read_text(), asyncssh.generate_private_key("ssh-ed25519")
    return {
        "ca.pem": ca,
        "cert.pem": client.cert.read_text(),
        "key.pem": client.key.read_text(),
        "other-key.pem": other.key.read_text(),
        "locked-key.pem": locked.key.read_text(),
        "damaged.pem": ca[:100] + ca[200:],
        "id_ed25519": ssh.export_private_key().decode(),
        "id_ed25519.pub": ssh.export_public_key().decode(),
    }


@pytest.fixture
def place(tmp_path: Path, pem: Mapping[str, str]) -> Place:
    """A directory with key files, and a home with known hosts."""
    place = Place(tmp_path)
    for name, text in pem.items():
        place.write(name, text)
    place.write("home/.ssh/known_hosts", "node1.example.com ssh-ed25519 AAAA\n")
    return place
