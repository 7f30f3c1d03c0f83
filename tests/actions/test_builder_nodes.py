"""Configured nodes as nodes of a buildx builder, and the Docker contexts that they need."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.actions.builder_contexts import context_steps, unused_contexts
from exporter.actions.builder_nodes import UnfitError, buildx_nodes, check_name, single_name
from exporter.model import Driver, NodeSpec, TcpEndpoint, TlsFiles, UnixEndpoint
from tests.actions.buildx_model import spec, stored

TLS = TlsFiles(Path("/pki/ca.pem"), Path("/pki/cert.pem"), Path("/pki/key,1.pem"))


def over_tls(name: str, tls: TlsFiles | None = TLS, *, remote: bool = False) -> NodeSpec:
    return NodeSpec(name, TcpEndpoint("host", 2376, tls), remote=remote)


@pytest.mark.parametrize(
    ("node", "name", "endpoint"),
    [
        (spec("a"), "a", "ssh://me@a"),
        (spec("Ofen@1", builders=("docker",)), "ofen-1", "ssh://me@Ofen@1"),
        (spec("10.0.0.7"), "node-10.0.0.7", "ssh://me@10.0.0.7"),
        (spec("a", builders=("docker", "Farm0")), "farm0", "ssh://me@a"),
        (spec("a", builders=("farm0", "farm1")), "a", "ssh://me@a"),
        (NodeSpec("here", UnixEndpoint("/run/docker.sock")), "here", "unix:///run/docker.sock"),
        (over_tls("TLS", None), "tls", "tcp://host:2376"),
        (over_tls("TLS"), "tls", "buildfarm-tls"),
        (over_tls("kit", remote=True), "kit", "tcp://host:2376"),
    ],
)
def test_name_and_endpoint(node: NodeSpec, name: str, endpoint: str) -> None:
    """The BuildKit that the configuration selects, else one called after the node."""
    _, (found,) = buildx_nodes([node], {})
    assert (found.name, found.endpoint) == (name, endpoint)


def test_driver() -> None:
    """One for all nodes; options of the command line go along with those of TLS."""
    driver, (node,) = buildx_nodes([over_tls("kit", remote=True)], {"default-load": "true"})
    assert driver is Driver.REMOTE
    assert node.options == {
        "default-load": "true",
        "cacert": "/pki/ca.pem",
        "cert": "/pki/cert.pem",
        "key": "/pki/key,1.pem",
    }
    assert buildx_nodes([over_tls("a")], {"memory": "1g"})[1][0].options == {"memory": "1g"}


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (
            [spec("a"), spec("b"), over_tls("kit", remote=True)],
            r"one driver: a, b need docker-container, kit \(driver: remote\) needs remote. Make",
        ),
        ([over_tls("a", TlsFiles())], r"^a: docker does TLS only with an authority.*set tls.ca$"),
        ([over_tls("a", TlsFiles(None, Path("c"), Path("k")), remote=True)], "set tls.ca"),
        ([spec("a", builders=("x y",))], "a: buildx makes no builder of the name 'x y'"),
        (
            [spec("a", builders=("farm0",)), spec("b", builders=("farm0",))],
            "a and b would both be called farm0 in the builder",
        ),
        ([spec("x.1"), spec("X.1")], "x.1 and X.1 would both be called x.1"),
    ],
)
def test_nodes_that_are_no_builder(nodes: list[NodeSpec], told: str) -> None:
    """Are named, with what to do."""
    with pytest.raises(UnfitError, match=told):
        buildx_nodes(nodes, {})


@pytest.mark.parametrize("name", ["default", "1st", "a b", "ctx"])
def test_names_that_buildx_does_not_take(name: str) -> None:
    """Are refused before anything is done."""
    with pytest.raises(ValueError, match=name):
        check_name(name, {"ctx"})
    check_name("farm", {"ctx"})


def test_the_builder_of_one_node() -> None:
    """Is called as ``route`` names the node, where buildx can."""
    assert single_name("farm", spec("Node.1")) == "farm-Node.1"
    assert single_name("farm", spec("a:1")) == "farm-a-1"


def test_contexts_are_made_where_they_are_needed() -> None:
    """Once, and again when they hold other certificates."""
    _, nodes = buildx_nodes([over_tls("a"), spec("b"), over_tls("c"), over_tls("d")], {})
    there = {"buildfarm-a": True, "buildfarm-c": False}
    steps = context_steps(nodes, lambda name, _: there.get(name))
    where = 'host=tcp://host:2376,ca=/pki/ca.pem,cert=/pki/cert.pem,"key=/pki/key,1.pem"'
    assert [step.arguments for step in steps] == [
        ("context", "update", "buildfarm-c", "--docker", where),
        ("context", "create", "buildfarm-d", "--docker", where),
    ]


def test_contexts_that_nobody_needs_any_more() -> None:
    """Those that were made for a node, as long as no other builder has them."""
    nodes = [
        stored("a", endpoint="buildfarm-a"),
        stored("b", endpoint="buildfarm-b"),
        stored("c", endpoint="by-hand"),
        stored("d"),
    ]
    others = [stored("x", endpoint="buildfarm-b")]
    assert unused_contexts(nodes, others) == {"a": "buildfarm-a"}
