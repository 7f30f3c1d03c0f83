"""Fixtures of the tests of commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.buildxuser import DOCKER, RUNNING, User


@pytest.fixture
def user(tmp_path: Path) -> User:
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(folder=tmp_path))
    docker.chmod(0o755)
    (tmp_path / "inspected").write_text(RUNNING)
    return User(tmp_path)
