"""Fixtures of the tests on real nodes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.realfarm.daemon import Daemon, running
from tests.realfarm.farm import Farm, raised


@pytest.fixture(scope="session")
def farm() -> Iterator[Farm]:
    """The farm of all nodes, up for the whole session. Where it can't be, tests fail."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # then, too, take it down
    try:
        with raised() as up:
            yield up
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def daemon(farm: Farm, tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start the exporter: ``daemon(config, *arguments)``; stopped, and well, when the test ends."""
    with ExitStack() as stack:

        def start(config: Mapping[str, Any], *arguments: str, **env: str) -> Daemon:
            folder = tmp_path / f"daemon{len(list(tmp_path.glob('daemon*')))}"
            folder.mkdir()
            state = {"XDG_STATE_HOME": str(folder / "state")}
            return stack.enter_context(
                running(config, folder, farm.client.env | state | env, *arguments)
            )

        yield start
