"""The buildx store: builders become nodes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from exporter import model
from exporter.config.buildx import Store, StoreError
from tests.config.conftest import Place, store_node, told


def nodes(place: Place, *builders: str, more: str = "") -> tuple[model.NodeSpec, ...]:
    return place.load(f"buildx: {{builders: [{', '.join(builders)}]}}\n{more}").nodes


def test_the_nodes_of_a_builder(place: Place) -> None:
    """Endpoint, expected platforms and the container builder on it."""
    place.builder(
        "farm",
        "docker-container",
        store_node("farm0", "ssh://me@node1", "linux/amd64", image="moby/buildkit:v0.20.0"),
        store_node("farm1", "tcp://node2:2375", "linux/arm64", "linux/arm/v7"),
    )
    one, two = nodes(place, "farm")
    assert (one.name, one.endpoint.url) == ("node1", "ssh://me@node1")
    assert (one.builders, one.platforms, one.remote) == (("farm0",), ("linux/amd64",), False)
    # Without a context, docker speaks plain TCP here, too.
    assert two.endpoint == model.TcpEndpoint("node2", 2375, None)
    assert two.platforms == ("linux/arm64", "linux/arm/v7")


def test_a_remote_driver_with_tls(place: Place) -> None:
    """A bare buildkitd; its TLS files are in the driver's options."""
    place.builder(
        "kit",
        "remote",
        store_node(
            "kit0",
            "tcp://node4:1234",
            cacert=str(place.root / "ca.pem"),
            cert=str(place.root / "cert.pem"),
            key=str(place.root / "key.pem"),
            servername="buildkitd",
        ),
    )
    (node,) = nodes(place, "kit")
    assert (node.remote, node.builders, node.transport) == (True, ("buildkitd",), "tls")
    ca, cert, key = (place.root / name for name in ("ca.pem", "cert.pem", "key.pem"))
    tls = model.TlsFiles(ca, cert, key, "buildkitd")
    assert node.endpoint == model.TcpEndpoint("node4", 1234, tls)


def test_a_remote_driver_without_tls(place: Place) -> None:
    place.builder("kit", "remote", store_node("kit0", "tcp://node4"))
    assert nodes(place, "kit")[0].endpoint == model.TcpEndpoint("node4", 1234, None)


def test_an_endpoint_can_be_a_context(place: Place, pem: dict[str, str]) -> None:
    """With the context's TLS files."""
    place.context(
        "east", "tcp://node5:2376", {key: pem[f"{key}.pem"] for key in ("ca", "cert", "key")}
    )
    place.builder("farm", "docker-container", store_node("farm0", "east"))
    (node,) = nodes(place, "farm")
    assert isinstance(node.endpoint, model.TcpEndpoint)
    assert node.endpoint.url == "tcp://node5:2376"
    assert node.endpoint.tls is not None
    assert node.endpoint.tls.key is not None
    assert node.endpoint.tls.key.read_text() == pem["key.pem"]


def test_a_context_is_a_builder(place: Place) -> None:
    """As for buildx: the Engine's own builder is selected then."""
    place.context("east", "ssh://node5")
    (node,) = nodes(place, "east")
    assert (node.endpoint.url, node.builders) == ("ssh://node5", ("docker",))


@pytest.mark.parametrize(
    ("more", "platforms", "builders"),
    [
        ("", ("linux/amd64", "linux/386"), ("one0", "two0")),
        ("nodes: [{name: node1, endpoint: 'ssh://node1'}]", (), ("one0", "two0")),
        (
            "nodes: [{endpoint: 'ssh://node1', builders: [x], platforms: [linux/arm64]}]",
            ("linux/arm64",),
            ("x",),
        ),
    ],
    ids=["store alone", "file leaves it open", "file decides"],
)
def test_builders_on_one_machine_are_one_node(
    place: Place, more: str, platforms: tuple[str, ...], builders: tuple[str, ...]
) -> None:
    """All its builders are selected, unless the file's own entry says which."""
    place.builder("one", "docker-container", store_node("one0", "ssh://node1", "linux/amd64"))
    place.builder("two", "docker-container", store_node("two0", "ssh://node1", "linux/386"))
    (node,) = nodes(place, "one", "two", more=more)
    assert (node.name, node.platforms, node.builders) == ("node1", platforms, builders)


def test_two_builders_on_ports_of_one_host(place: Place) -> None:
    """Names stay unique without anybody's help."""
    place.builder(
        "kit", "remote", store_node("a", "tcp://node1:1234"), store_node("b", "tcp://node1:1235")
    )
    assert [node.name for node in nodes(place, "kit")] == ["node1", "node1-1235"]


@pytest.mark.parametrize(
    ("driver", "endpoint", "note"),
    [
        ("kubernetes", "", "builder 'x': left out, its driver is kubernetes"),
        ("remote", "kube-pod://p", "builder 'x', node 'x0': left out, its endpoint is kube-pod://"),
        ("", "npipe:////./pipe/x", "builder 'x', node 'x0': left out, its endpoint is npipe://"),
    ],
)
def test_what_can_not_be_watched_is_left_out(
    place: Place, driver: str, endpoint: str, note: str
) -> None:
    """A remark, not a mistake: the rest of the farm is watched."""
    place.builder("x", driver, store_node("x0", endpoint))
    assert f"farm.yml:1: buildx.builders[0]: {note}" in place.warnings("buildx: {builders: [x]}")


def test_mistakes_in_the_store(place: Place) -> None:
    """Each is told of the builder's line in the file."""
    place.builder("gone", "docker-container", store_node("gone0", "west"))
    ca = str(place.root / "ca.pem")
    place.builder("half", "remote", store_node("half0", "tcp://a", cacert=ca, cert=ca))
    place.builder("lost", "remote", store_node("lost0", "tcp://a", cacert="/nope.pem"))
    place.builder("odd", "docker-container", store_node("odd0", "ftp://a"), store_node("odd1", ""))
    place.write("home/.docker/buildx/instances/broken", "{")
    text = """
buildx:
  builders:
    - gone     #! buildx.builders[0]: builder 'gone', node 'gone0': no Docker context 'west'; there are: default
    - half     #! buildx.builders[1]: builder 'half', node 'half0': TLS file 'key' is missing
    - lost     #! buildx.builders[2]: builder 'lost', node 'lost0': TLS file 'ca': no such file
    - odd      #! buildx.builders[3]: builder 'odd', node 'odd0': not an endpoint; write ssh://user@host, tcp://host:port or unix:///path #! buildx.builders[3]: builder 'odd', node 'odd1': has no name or no endpoint
    - broken   #! buildx.builders[4]: builder 'broken': not valid JSON, line 1
    - farm     #! buildx.builders[5]: no builder 'farm'; there are: broken, gone, half, lost, odd, default
"""  # noqa: E501
    assert place.problems(text) == told(text)


@pytest.mark.parametrize("name", ["../../../etc/passwd", "a/b", ".."])
def test_a_name_is_no_path(place: Place, name: str) -> None:
    """Nothing outside of the store is ever read."""
    with pytest.raises(StoreError, match="no builder"):
        Store({}, "here", place.home).builder(name)


@pytest.mark.parametrize("variable", ["BUILDX_CONFIG", "DOCKER_CONFIG"])
def test_where_the_store_is(place: Place, variable: str) -> None:
    """As for buildx: $BUILDX_CONFIG, else $DOCKER_CONFIG/buildx."""
    place.builder("farm", "docker-container", store_node("farm0", "ssh://node1"))
    docker = place.home / ".docker"
    environ = {variable: str(docker / "buildx" if variable == "BUILDX_CONFIG" else docker)}
    assert Store(environ, "here", Path("/nowhere")).names() == ["farm"]


class TestCurrent:
    """Which builder `docker buildx build` would use now."""

    @pytest.fixture
    def store(self, place: Place) -> Store:
        place.builder("farm", "docker-container", store_node("farm0", "ssh://node1"))
        place.context("east", "ssh://node5")
        return Store(place.environ, "here", place.home)

    def test_none_was_chosen(self, store: Store) -> None:
        assert store.current() == "default"

    def test_the_environment_chooses(self, place: Place, store: Store) -> None:
        place.environ["BUILDX_BUILDER"] = "other"
        assert store.current() == "other"

    @pytest.mark.parametrize(
        ("key", "everywhere", "chosen"),
        [
            ("unix:///var/run/docker.sock", "false", "farm"),
            ("east", "false", "default"),
            ("east", "true", "farm"),
        ],
    )
    def test_buildx_use(
        self, place: Place, store: Store, key: str, everywhere: str, chosen: str
    ) -> None:
        """`docker buildx use` holds for one Docker endpoint, unless it was --global."""
        current = f'{{"Key": "{key}", "Name": "farm", "Global": {everywhere}}}'
        place.write("home/.docker/buildx/current", current)
        assert store.current() == chosen

    def test_a_context_is_in_use(self, place: Place, store: Store) -> None:
        place.write("home/.docker/config.json", '{"currentContext": "east"}')
        assert store.current() == "east"

    def test_buildx_use_default(self, place: Place, store: Store) -> None:
        """`--default` keeps the choice of each context in a file named after its hash."""
        place.environ["DOCKER_CONTEXT"] = "east"
        digest = hashlib.sha256(b"east").hexdigest()[:20]
        place.write(f"home/.docker/buildx/defaults/{digest}", "farm")
        assert store.current() == "farm"
