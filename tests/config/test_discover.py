"""``discover``: a configuration file from what is already there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.config.discover import Discovered, discover, to_yaml
from exporter.model import NodeSpec, SshEndpoint, TcpEndpoint, TlsFiles, UnixEndpoint
from tests.config.conftest import Place, store_node


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """A socket as the local Docker Engine has one."""
    with socket.socket(socket.AF_UNIX) as listening:
        path = tmp_path / "s"
        listening.bind(str(path))
        yield path


@pytest.fixture
def store(place: Place, pem: dict[str, str]) -> Place:
    """A farm of two, two bare buildkitds on one host, and contexts, one of them a farm node."""
    place.builder(
        "farm",
        "docker-container",
        store_node("farm0", "ssh://me@node1", "linux/amd64"),
        store_node("farm1", "ssh://node2:2222", "linux/arm64"),
    )
    options = {"cacert": str(place.root / "ca.pem"), "servername": "kit"}
    place.builder(
        "kit",
        "remote",
        store_node("kit0", "tcp://node4:1234", **options),
        store_node("kit1", "tcp://node4:1235"),
    )
    place.builder("cloud", "kubernetes")
    place.context("east", "tcp://node5:2376", {"ca": pem["ca.pem"]})
    place.context("one", "ssh://me@node1")
    return place


def test_all_nodes_once(store: Place, local: Path) -> None:
    """Builders' nodes first, then contexts, then this machine."""
    found = discover({}, "here", store.home, socket=local)
    assert [(node.name, node.endpoint.url, node.builders) for node in found.nodes] == [
        ("node1", "ssh://me@node1", ("farm0",)),
        ("node2", "ssh://node2:2222", ("farm1",)),
        ("node4", "tcp://node4:1234", ("buildkitd",)),
        ("node4-1235", "tcp://node4:1235", ("buildkitd",)),
        ("node5", "tcp://node5:2376", None),
        ("here", f"unix://{local}", None),
    ]
    assert found.notes == ("builder 'cloud': left out, its driver is kubernetes",)


def test_what_is_found_loads_again(store: Place, local: Path) -> None:
    """The file gives exactly the nodes that it was made of."""
    found = discover({}, "here", store.home, socket=local)
    config = store.load(to_yaml(found))
    assert [_plain(node) for node in config.nodes] == [_plain(node) for node in found.nodes]
    assert config.warnings == ()


def test_odd_names_load_again(place: Place) -> None:
    """Whatever YAML, or the environment's syntax, would take for something else."""
    ca = place.root / "ca.pem"
    nodes = (
        NodeSpec("yes", SshEndpoint("on")),
        NodeSpec("12", SshEndpoint("1e3", "me", 22, "/run/x y.sock".replace(" ", "_"))),
        NodeSpec("a:b", TcpEndpoint("2001:db8::1", 2375, None), platforms=("linux/amd64",)),
        NodeSpec("${HOME}", TcpEndpoint("c", 1, TlsFiles(ca=ca, server_name="no")), remote=True),
        NodeSpec("#1", UnixEndpoint("/run/docker.sock"), builders=("null", "~")),
    )
    config = place.load(to_yaml(Discovered(nodes)))
    assert [_plain(node) for node in config.nodes] == [_plain(node) for node in nodes]


def test_the_commented_sections_are_right(place: Place) -> None:
    """A user who takes the comment signs away gets a good configuration."""
    text = to_yaml(Discovered((NodeSpec("a", SshEndpoint("a")),)))
    head, _, tail = text.partition("\n\n# How often")
    bare = "\n".join(line[2:] for line in tail.splitlines() if line.startswith("# "))
    sections = bare[bare.index("collect:") :].replace("Without this", "# Without this")
    assert place.load(f"{head}\n{sections}").nodes[0].prune is not None


def test_nothing_at_all(place: Place) -> None:
    """Still a file that loads, and says how to go on."""
    found = discover({}, "here", place.home, socket=place.root / "none")
    assert found == Discovered()
    (warning,) = place.warnings(to_yaml(found))
    assert warning.endswith("nodes: no node is configured; there is nothing to watch")


def _plain(node: NodeSpec) -> tuple[object, ...]:
    """What a node is, apart from settings that the file leaves at their defaults."""
    return node.name, node.endpoint, node.remote, node.platforms, node.builders
