"""Where a node's builders are, and which of them are selected."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from exporter.buildkit.builders import BARE, EMBEDDED, find_builders, select
from exporter.docker.engine import Engine
from exporter.errors import Layer
from exporter.model import Builder, Driver, UnixEndpoint
from exporter.transports.unix import UnixTransport
from tests.support.engine import FakeEngine

FARM0 = Builder("farm0", Driver.CONTAINER)
FARM1 = Builder("farm1", Driver.CONTAINER)


def container(name: str, state: str = "running") -> dict[str, Any]:
    return {"Id": f"id-of-{name}", "Names": [f"/{name}"], "State": state}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeEngine]:
    async with FakeEngine(tmp_path / "docker.sock") as daemon:
        daemon.answers["/containers/json"] = []
        yield daemon


@pytest.fixture
async def engine(daemon: FakeEngine) -> AsyncIterator[Engine]:
    engine = Engine(UnixTransport(UnixEndpoint(str(daemon.socket)), Layer.ENGINE).dial)
    yield engine
    engine.close()


async def test_every_engine_has_the_embedded_one(engine: Engine) -> None:
    assert await find_builders(engine, None, ()) == (EMBEDDED,)


async def test_containers_of_buildx_are_builders(daemon: FakeEngine, engine: Engine) -> None:
    """The Engine's filter looks for the text anywhere; a stopped one is a builder all the same."""
    daemon.answers["/containers/json"] = [
        container("buildx_buildkit_farm1", "exited"),
        container("buildx_buildkit_farm0"),
        container("my_buildx_buildkit_copy"),
    ]
    found = await find_builders(engine, None, ())
    assert [(b.name, b.running, b.container) for b in found] == [
        ("docker", True, None),
        ("farm0", True, "id-of-buildx_buildkit_farm0"),
        ("farm1", False, "id-of-buildx_buildkit_farm1"),
    ]


async def test_a_container_builder_called_as_the_embedded_one_goes_by_its_container(
    daemon: FakeEngine, engine: Engine
) -> None:
    """Two builders of one name would share their series, and one be pruned for the other."""
    name = "buildx_buildkit_docker"
    daemon.answers["/containers/json"] = [container(name)]
    daemon.answers[f"/volumes/{name}_state"] = {"Name": f"{name}_state"}
    found = await find_builders(engine, None, ())
    assert [(b.name, b.selected) for b in found] == [("docker", False), (name, True)]
    daemon.answers["/containers/json"] = []
    assert [b.name for b in await find_builders(engine, None, found)] == ["docker", name]


async def test_a_builder_whose_container_is_gone_but_not_its_volume_was_not_meant_to_go(
    daemon: FakeEngine, engine: Engine
) -> None:
    daemon.answers["/volumes/buildx_buildkit_farm0_state"] = {"Name": "x"}
    known = [EMBEDDED, Builder("farm0", Driver.CONTAINER, container="c0"), FARM1]
    found = await find_builders(engine, None, known)
    assert [(b.name, b.running, b.container) for b in found] == [
        ("docker", True, None),
        ("farm0", False, None),
    ]


@pytest.mark.parametrize(
    ("there", "wanted", "selected"),
    [
        ([EMBEDDED], None, {"docker"}),
        ([EMBEDDED, FARM0, FARM1], None, {"farm0", "farm1"}),
        ([BARE], None, {"buildkitd"}),
        ([EMBEDDED, FARM0, FARM1], ("docker", "farm1"), {"docker", "farm1"}),
    ],
)
def test_by_default_the_container_builders_are_selected(
    there: list[Builder], wanted: tuple[str, ...] | None, selected: set[str]
) -> None:
    builders = select(there, wanted)
    assert {b.name for b in builders if b.selected} == selected
    assert [b.name for b in builders] == [b.name for b in there]


def test_a_wanted_builder_that_is_not_there_does_not_run() -> None:
    missing = select([EMBEDDED], ("farm9",))[-1]
    assert (missing.name, missing.selected, missing.running) == ("farm9", True, False)
