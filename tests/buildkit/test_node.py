"""A node's one client: every kind of builder behind the same transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from exporter.buildkit.builders import BARE, EMBEDDED
from exporter.buildkit.node import NodeClient
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Builder, Driver, NodeSpec, UnixEndpoint
from exporter.transports import open_transport
from tests.support.buildkit import FakeControl, grpc_server
from tests.support.engine import FakeEngine, piped

INFO = {"ServerVersion": "26.1.5", "Architecture": "aarch64", "DockerRootDir": "/srv/docker"}
ROW = {"Id": "c1", "Names": ["/buildx_buildkit_farm0"], "State": "running"}


class Node:
    """A node with an embedded builder and a container builder."""

    def __init__(self, directory: Path) -> None:
        self.embedded = FakeControl()
        self.contained = FakeControl()
        self.engine = FakeEngine(
            directory / "docker.sock",
            answers={
                "/info": INFO,
                "/containers/json": [ROW],
                "/containers/c1/exec": {"Id": "e1"},
            },
            upgrades={
                "/grpc": piped(directory / "embedded.sock"),
                "/exec/e1/start": piped(directory / "contained.sock", framed=True),
            },
        )
        self.directory = directory


def client(path: Path, *, remote: bool = False) -> NodeClient:
    spec = NodeSpec("n1", UnixEndpoint(str(path)), remote=remote)
    return NodeClient(spec, open_transport(spec, Random(1)))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    async with (
        node.engine,
        grpc_server(node.embedded, tmp_path / "embedded.sock"),
        grpc_server(node.contained, tmp_path / "contained.sock"),
    ):
        yield node


async def test_each_builder_is_asked_over_its_own_way(node: Node) -> None:
    """The embedded one by an upgrade, the container's by a command in it."""
    here = client(node.engine.socket)
    for builder in await here.builders():
        for _ in range(2):
            await here.control(builder).info()
    assert [len(node.embedded.requests), len(node.contained.requests)] == [2, 2]
    execs = [r.body["Cmd"] for r in node.engine.requests if r.target.endswith("/c1/exec")]
    assert execs == [["buildctl", "dial-stdio"]]
    await here.close()


async def test_a_bare_buildkitd_is_its_only_builder(node: Node) -> None:
    here = client(node.directory / "contained.sock", remote=True)
    assert here.engine is None
    assert await here.engine_info() is None
    assert await here.builders(fresh=True) == (BARE,)
    await here.control(BARE).info()
    assert len(node.contained.requests) == 1
    await here.close()


async def test_what_was_learned_is_kept_until_it_is_refreshed(node: Node) -> None:
    here = client(node.engine.socket)
    for _ in range(3):
        info = await here.engine_info()
        await here.builders()
    assert info is not None
    assert (info.arch, info.root) == ("arm64", "/srv/docker")
    paths = [request.target.partition("?")[0] for request in node.engine.requests]
    assert paths == ["/_ping", "/v1.45/info", "/v1.45/containers/json"]
    await here.engine_info(fresh=True)
    await here.builders(fresh=True)
    assert len(node.engine.requests) == 5
    await here.close()


async def test_a_builder_that_is_made_anew_is_reached_anew(node: Node) -> None:
    """``docker buildx rm`` and ``create`` give it another container of the same name."""
    here = client(node.engine.socket)
    (_, old) = await here.builders()
    await here.control(old).info()
    del node.engine.answers["/containers/c1/exec"]
    node.engine.answers |= {
        "/containers/json": [ROW | {"Id": "c2"}],
        "/containers/c2/exec": {"Id": "e1"},
    }
    (_, new) = await here.builders(fresh=True)
    # A look that began before the list was made anew asks in vain, and spoils nothing.
    with pytest.raises(NodeError):
        await here.control(old).info()
    await here.control(new).info()
    execs = [r.target for r in node.engine.requests if r.target.endswith("/exec")]
    assert execs == [f"/v1.45/containers/{id_}/exec" for id_ in ("c1", "c1", "c2")]
    await here.close()


@pytest.mark.parametrize(
    ("container", "said"), [("c1", "builder farm0 does not run"), (None, "builder farm0 is gone")]
)
async def test_a_builder_that_does_not_run_says_so(
    node: Node, container: str | None, said: str
) -> None:
    here = client(node.engine.socket)
    with pytest.raises(NodeError, match=said) as caught:
        here.control(Builder("farm0", Driver.CONTAINER, container=container, running=False))
    assert (caught.value.layer, caught.value.reason) == (Layer.BUILDKIT, Reason.BUILDKIT)
    await here.close()


async def test_a_client_of_ones_own_has_its_own_connection(node: Node) -> None:
    here = client(node.engine.socket)
    await here.control(EMBEDDED).info()
    own = here.new_control(EMBEDDED)
    await own.info()
    assert [r.target for r in node.engine.requests].count("/v1.45/grpc") == 2
    own.close()
    await here.close()


async def test_a_held_transport_outlives_a_reset(tmp_path: Path) -> None:
    here = client(tmp_path / "docker.sock")
    resets: list[None] = []
    here.transport.reset = lambda: resets.append(None)  # type: ignore[method-assign]
    with here.held():
        with here.held():
            here.reset()
        here.reset()
        assert not resets
    here.reset()
    assert len(resets) == 1


async def test_after_a_reset_all_is_reached_anew(node: Node) -> None:
    here = client(node.engine.socket)
    await here.control(EMBEDDED).info()
    connections = here.transport.connects
    here.reset()
    await here.control(EMBEDDED).info()
    assert here.transport.connects == connections + 1
    await here.close()
