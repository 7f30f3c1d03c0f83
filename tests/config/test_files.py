"""Files that a configuration names, beside PEM: secrets, node files, and who may read them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import model
from exporter.config.files import check_identity, read_text
from tests.config.conftest import Place, told


@pytest.fixture
def nobody_may_read() -> Iterator[Path]:
    """A file that this process may not read, though root may read all."""
    path = Path(tempfile.mkdtemp()) / "key"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    path.chmod(0)
    path.parent.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield path
    finally:
        os.seteuid(user)
        path.unlink()
        path.parent.rmdir()


def test_a_key_that_may_not_be_read(nobody_may_read: Path) -> None:
    with pytest.raises(ValueError, match=r"^can't be read: permission denied$"):
        check_identity(nobody_may_read)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is not a regular file"):
        read_text(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is not text"), (b"x" * (1 << 20) + b"x", "is larger than 1 MiB")],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_text(tmp_path / "file")


def test_a_passphrase_from_a_file(place: Place) -> None:
    """Without the newline that editors add, and nowhere to be seen."""
    place.write("passphrase", "geheim\n")
    config = place.load("nodes: [{endpoint: 'ssh://a', ssh: {passphrase_file: passphrase}}]")
    endpoint = config.nodes[0].endpoint
    assert isinstance(endpoint, model.SshEndpoint)
    assert endpoint.passphrase == "geheim"
    assert "geheim" not in repr(config)


def test_an_empty_secret(place: Place) -> None:
    place.write("passphrase", "\n")
    text = """
nodes: []
ssh: {passphrase_file: passphrase}   #! ssh.passphrase_file: is empty
"""
    assert place.problems(text) == told(text)


def test_the_environment(place: Place) -> None:
    """References inside of text; ``$$`` is a dollar."""
    place.environ.update(USER_NAME="builder", HOST="node1")
    config = place.load("""
nodes: [{endpoint: "ssh://${USER_NAME}@${HOST}", labels: {price: "5$$"}}]
""")
    assert config.nodes[0].endpoint.url == "ssh://builder@node1"
    assert config.nodes[0].labels == {"price": "5$"}


def test_what_came_from_the_environment_is_shown_as_written(place: Place) -> None:
    """A value of the environment may be a secret, even in the wrong place."""
    place.environ["SECRET"] = "geheim"
    (problem,) = place.problems('nodes: [{endpoint: "ssh://a", platforms: ["${SECRET}/x"]}]')
    assert problem == (
        "farm.yml:1: nodes[0].platforms[0]: '${SECRET}/x' is not a platform; "
        "write linux/amd64 or linux/arm64"
    )


def test_mistakes_in_node_files(place: Place) -> None:
    """Told with the node file's own name and lines, after those of the main file."""
    one = """
- endpoint: ssh://a
- endpoint: ssh://b   #! [1].endpoint: the node on line 2 of farm.yml has the same endpoint
- endpoint: ssh://c
  tls: false          #! [2].tls: has no use: ssh:// is not TLS, only tcp:// is
"""
    two = "endpoint: ssh://d   #! must be a list of nodes (- endpoint: …)\n"
    place.write("nodes.d/1.yml", one)
    place.write("nodes.d/2.yml", two)
    main = """
nodes: [{endpoint: "ssh://b"}]
node_files: [nodes.d/*.yml]
collect: {disk: 30}   #! collect.disk: '30' is not a duration; write 30s for 30 seconds
"""
    assert place.problems(main) == [
        *told(main),
        *told(one, "nodes.d/1.yml"),
        *told(two, "nodes.d/2.yml"),
    ]


def test_node_files_are_named_for_watching(place: Place) -> None:
    """Patterns as absolute paths, each file once although two patterns match it."""
    one = place.write("nodes.d/1.yml", "- endpoint: ssh://a\n")
    config = place.load('node_files: ["nodes.d/*.yml", "nodes.d/1.*", "later/*.yml"]')
    assert [node.name for node in config.nodes] == ["a"]
    assert config.node_files == (one,)
    assert config.node_globs[2] == f"{place.root}/later/*.yml"
