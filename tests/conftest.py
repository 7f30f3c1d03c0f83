"""Hygiene for every test: nothing of the developer's set-up leaks in, no task is left over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from tests.support.virtual import VirtualLoop

_FOREIGN = (
    "BUILDFARM_",
    "BUILDX_",
    "BUILDKIT_",
    "DOCKER_",
    "SSH_",
    "XDG_",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "COLUMNS",
    "FORCE_COLOR",
    "NO_COLOR",
)


def pytest_configure(config: pytest.Config) -> None:
    # How long an example takes depends on the machine, and says nothing about the code.
    hypothesis.settings.register_profile("project", deadline=None)
    hypothesis.settings.load_profile("project")
    config.addinivalue_line(
        "markers", "virtual_time: the test's event loop does not wait, its time jumps"
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the test a home of its own, without SSH agent, Docker set-up or proxies."""
    home = tmp_path_factory.mktemp("home")
    places = {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / ".docker"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".local/state"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(_FOREIGN)]:
            patch.delenv(name)
        for name, value in places.items():
            patch.setenv(name, value)
        yield home


@pytest.fixture(autouse=True)
def no_leftover_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task behind."""
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_watch_tasks")


@pytest.fixture
async def _watch_tasks() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        # What was cancelled or aborted just now may need a moment to end.
        _, left = await asyncio.wait(left, timeout=2.0)
    assert not left, "tasks left behind: " + ", ".join(sorted(repr(task) for task in left))
