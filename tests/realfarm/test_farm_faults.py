"""Every fault of the farm really happens, and is over when it is over."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest

from tests.realfarm.client import Client
from tests.realfarm.engineapi import pings
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.pki import Authority, Pair
from tests.realfarm.servers import answers
from tests.realfarm.shell import wait_for


def _ssh(client: Client, node: Node, *command: str, key: str = "full", user: str = "root") -> str:
    done = client.ssh(node.address, *command, key=key, user=user)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["old", "new"])
@pytest.mark.parametrize(
    ("user", "key", "said"),
    [
        ("root", "full", "Server Version"),
        ("builder", "full", "Server Version"),
        ("visitor", "full", "permission denied"),
        ("root", "stranger", "Permission denied"),
    ],
)
def test_who_may_log_in_and_use_docker(
    farm: Farm, name: str, user: str, key: str, said: str
) -> None:
    """The socket is root's and its group's; a key that no node knows opens nothing."""
    assert said in _ssh(farm.client, farm[name], "docker", "info", user=user, key=key)


@pytest.mark.parametrize("name", ["old", "new"])
def test_restricted_key_has_no_shell(farm: Farm, name: str) -> None:
    """Its command is never run, but the socket can be reached through it."""
    client, node = farm.client, farm[name]
    assert "root" not in _ssh(client, node, "id", key="restricted")
    forwarded = client.home / f"{name}.sock"
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{forwarded}:/var/run/docker.sock"]
    argv = client.ssh_argv(node.address, key="restricted", options=options)
    with subprocess.Popen(argv, env=client.env) as tunnel:
        try:
            wait_for("the forwarded socket", forwarded.exists)
            assert pings(forwarded)
        finally:
            tunnel.terminate()


def test_other_host_key_is_refused(farm: Farm) -> None:
    """The client meets an impostor, and afterwards the host it knows."""
    with farm["new"].sshd.other_host_key():
        assert "HOST IDENTIFICATION HAS CHANGED" in _ssh(farm.client, farm["new"], "id")
    assert "uid=0" in _ssh(farm.client, farm["new"], "id")


def test_sshd_options_hold_inside_only(farm: Farm) -> None:
    """An option is in force inside, and gone afterwards."""
    with farm["old"].sshd.options(AllowUsers="builder"):
        assert "Permission denied" in _ssh(farm.client, farm["old"], "id")
    assert "uid=0" in _ssh(farm.client, farm["old"], "id")


def _connect(node: Node) -> type[Exception] | None:
    """How connecting to the node's own port ends."""
    try:
        socket.create_connection((node.address, 22), timeout=2).close()
    except OSError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (lambda node: node.network.silent(), TimeoutError),
        (lambda node: node.network.unplugged(), TimeoutError),
        (lambda node: node.network.closed(22), ConnectionRefusedError),
        (lambda node: node.sshd.stopped(), ConnectionRefusedError),
        (lambda node: node.network.lossy(99), TimeoutError),
    ],
)
def test_unreachable(
    farm: Farm, fault: Callable[[Node], AbstractContextManager[None]], outcome: type[Exception]
) -> None:
    """Each fault looks to a client as it does on a real network, and then is gone."""
    node = farm["new"]
    assert _connect(node) is None
    with fault(node):
        assert _connect(node) is outcome
    wait_for("the node", lambda: _connect(node) is None, timeout=60)


def test_slow(farm: Farm) -> None:
    """A slow line needs many times as long for the same answer."""

    def seconds() -> float:
        start = time.monotonic()
        assert len(_ssh(farm.client, farm["new"], "seq", "20000")) > 100_000
        return time.monotonic() - start

    fast = seconds()
    with farm["new"].network.slow("256kbit"):
        assert seconds() > 3 * fast


@pytest.mark.parametrize("name", ["old", "new", "tls", "local"])
def test_paused_engine_accepts_and_does_not_answer(farm: Farm, name: str) -> None:
    """A hung Engine is not a stopped one: its sockets are there."""
    node = farm[name]
    with node.engine.paused():
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(node.socket))
        assert not pings(node.socket)
    assert pings(node.socket)


@pytest.mark.parametrize("name", ["new", "kitd"])
def test_stopped_and_killed_engine_comes_back(farm: Farm, name: str) -> None:
    """After a stop, and after a kill, the engine answers again, with its container builder."""
    node = farm[name]
    for end in (node.engine.stop, node.engine.kill):
        end()
        node.engine.start()
        assert node.build(node.builders[-1], "FROM busybox\nRUN echo still here\n")


def test_socket_mode(farm: Farm) -> None:
    """The socket's permissions are others inside only."""
    node = farm["local"]
    before = node.socket.stat().st_mode
    with node.socket_mode(0o600):
        assert node.socket.stat().st_mode & 0o777 == 0o600
    assert node.socket.stat().st_mode == before


def test_filled_disk(farm: Farm) -> None:
    """Nothing can be written on the full disk, for want of bytes."""
    node = farm["old"]
    with node.disk.filled():
        assert node.truth.file_system().available_bytes == 0
        said = node.run(
            ["dd", "if=/dev/zero", f"of={node.root}/x", "bs=4k", "count=1"], check=False
        )
        assert "No space left on device" in said.stderr
        node.run(["rm", "-f", f"{node.root}/x"])
    with node.disk.filled(leave_mb=100):
        assert node.truth.file_system().available_bytes == pytest.approx(100 << 20, rel=0.05)
    assert node.truth.file_system().available_bytes > 1000 << 20


def test_filled_inodes(farm: Farm) -> None:
    """No file can be made, with bytes enough."""
    node = farm["old"]
    with node.disk.inodes_filled():
        figures = node.truth.file_system()
        assert figures.inodes_free == 0
        assert figures.available_bytes > 1000 << 20
        said = node.run(["touch", f"{node.root}/x"], check=False)
        assert "No space left on device" in said.stderr
    assert node.truth.file_system().inodes_free > 30_000


def _expired(client: Client, node: Node) -> Pair:
    return client.authority.server(node.address, valid_for=timedelta(days=-1))


def _foreign(client: Client, node: Node) -> Pair:
    del client
    return Authority("another").server(node.address)


@pytest.mark.parametrize(
    ("make", "said"), [(_expired, "has expired"), (_foreign, "signed by unknown authority")]
)
def test_bad_certificate(farm: Farm, make: Callable[[Client, Node], Pair], said: str) -> None:
    """A client of the node refuses the certificate inside, and trusts it afterwards."""
    argv = ["docker", "--context=tls-context", "version"]
    with farm["tls"].certificate(make(farm.client, farm["tls"])):
        assert said in farm.client.run(argv, check=False).stderr
    assert "Server:" in farm.client.run(argv).stdout


@pytest.mark.parametrize("name", ["tls", "kitd"])
def test_client_without_certificate_is_refused(farm: Farm, name: str) -> None:
    """TLS is mutual."""
    node = farm[name]
    context = ssl.create_default_context(cafile=farm.client.tls["ca"])
    with (
        socket.create_connection((node.address, node.spec.port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=node.address) as sock,
        pytest.raises(ssl.SSLError, match="certificate required"),
    ):
        sock.recv(100)
    assert answers(node.address, node.spec.port)
