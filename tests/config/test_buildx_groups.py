"""Builders of the buildx store as they are stored, and contexts compared with endpoints."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from exporter.config.buildx import Store, StoreError
from exporter.model import BuildxNode, TcpEndpoint, TlsFiles
from tests.config.conftest import Place, store_node


def store(place: Place) -> Store:
    return Store(place.environ, "here", place.home)


def test_a_builder_as_it_is_stored(place: Place) -> None:
    """Everything that ``docker buildx create`` was told, in its order."""
    toml = b"debug = true\n"
    files = {"buildkitd.toml": base64.b64encode(toml).decode()}
    place.builder(
        "farm",
        "docker-container",
        store_node("b0", "ssh://me@b", "linux/arm64", "linux/arm/v7", memory="1g")
        | {"Files": files},
        store_node("a0", "gone-context") | {"Flags": None},
    )
    group = store(place).group("Farm")
    assert group is not None
    assert (group.name, group.driver) == ("farm", "docker-container")
    one, two = group.nodes
    assert one.spec is not None
    assert one.spec.endpoint.url == "ssh://me@b"
    assert replace(one, spec=None) == BuildxNode(
        name="b0",
        endpoint="ssh://me@b",
        platforms=("linux/arm64", "linux/arm/v7"),
        options={"memory": "1g"},
        flags=("--allow-insecure-entitlement=network.host",),
        files={"buildkitd.toml": toml},
    )
    # What this exporter could not reach is a node all the same.
    assert two == BuildxNode("a0", "gone-context")


def test_no_such_builder(place: Place) -> None:
    """A Docker context is none."""
    place.context("ctx", "tcp://node:2375")
    assert store(place).group("ctx") is None
    assert store(place).group("../farm") is None


@pytest.mark.parametrize("node", [{"Endpoint": "ssh://a"}, {**store_node("a", "b"), "Flags": 1}, 1])
def test_a_broken_file(place: Place, node: object) -> None:
    """Is told as such."""
    place.builder("farm", "docker-container", node)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="builder 'farm': not the file of a builder"):
        store(place).group("farm")


def test_whether_a_context_leads_to_an_endpoint(place: Place) -> None:
    """The address and the certificates count, not where these lie."""
    pem = {key: (place.root / f"{key}.pem").read_text() for key in ("ca", "cert", "key")}
    place.context("ctx", "tcp://node:2376", pem)
    mine = TlsFiles(**{key: place.root / f"{key}.pem" for key in pem})  # type: ignore[arg-type]
    contexts = store(place).contexts
    assert contexts.leads_to("ctx", TcpEndpoint("node", 2376, mine))
    assert not contexts.leads_to("ctx", TcpEndpoint("other", 2376, mine))
    assert not contexts.leads_to("ctx", TcpEndpoint("node", 2376, None))
    assert not contexts.leads_to("ctx", TcpEndpoint("node", 2376, TlsFiles(mine.ca)))
    other = replace(mine, key=place.root / "other-key.pem")
    assert not contexts.leads_to("ctx", TcpEndpoint("node", 2376, other))
