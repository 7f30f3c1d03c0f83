"""Fixtures of the tests of actions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actions.multiarch import BuildxFarm


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuildxFarm]:
    """A builder of buildx; afterwards it is alone in its store, and no copy of it is left."""
    farm = BuildxFarm(tmp_path)
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield farm
    assert list(farm.instances.parent.iterdir()) == [farm.instances]
    assert list(scratch.iterdir()) == []
