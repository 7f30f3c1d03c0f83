"""What a person is told to do about each reason."""

from __future__ import annotations

import pytest

from exporter.cli.advice import advice
from exporter.errors import Layer, Reason
from exporter.model import (
    DiskSettings,
    Endpoint,
    Failure,
    NodeSpec,
    SshEndpoint,
    TcpEndpoint,
    TlsFiles,
    UnixEndpoint,
)

SSH = SshEndpoint("n1", user="builder", port=2222)
TLS = TcpEndpoint("n3", 2376, TlsFiles())
UNIX = UnixEndpoint("/var/run/docker.sock")
TRANSPORT, ENGINE, BUILDKIT = Layer


def told(
    endpoint: Endpoint,
    layer: Layer,
    reason: Reason,
    subject: str | None = None,
    *,
    remote: bool = False,
    disk: DiskSettings | None = None,
) -> str:
    node = NodeSpec("n", endpoint, remote=remote, disk=disk or DiskSettings())
    return advice(node, Failure(layer, reason, "it fails"), subject or layer)


@pytest.mark.parametrize(
    ("endpoint", "layer", "reason", "said"),
    [
        (SSH, TRANSPORT, Reason.DNS, "the resolver of this machine"),
        (SSH, TRANSPORT, Reason.REFUSED, "that sshd runs"),
        (TLS, TRANSPORT, Reason.REFUSED, "that the daemon runs"),
        (SSH, TRANSPORT, Reason.UNREACHABLE, "routes and firewalls"),
        (SSH, TRANSPORT, Reason.TIMEOUT, "raise ssh.connect_timeout and collect.timeout"),
        (TLS, TRANSPORT, Reason.TIMEOUT, "raise collect.timeout"),
        (SSH, ENGINE, Reason.TIMEOUT, "the daemon hangs"),
        (SSH, BUILDKIT, Reason.TIMEOUT, "the daemon hangs"),
        (SSH, TRANSPORT, Reason.AUTH, "~builder/.ssh/authorized_keys"),
        (SshEndpoint("n1"), TRANSPORT, Reason.AUTH, "~USER/.ssh/authorized_keys"),
        (SSH, TRANSPORT, Reason.HOST_KEY, "ssh-keygen -R '[n1]:2222'"),
        (SshEndpoint("n1"), TRANSPORT, Reason.HOST_KEY, "ssh-keygen -R 'n1'"),
        (TLS, TRANSPORT, Reason.TLS, "openssl s_client -connect n3:2376"),
        (SSH, ENGINE, Reason.PERMISSION, "usermod -aG docker builder on the node"),
        (UNIX, ENGINE, Reason.PERMISSION, "usermod -aG docker USER here"),
        (TLS, ENGINE, Reason.PERMISSION, "plugin or proxy"),
        (SSH, ENGINE, Reason.FORWARDING, "AllowStreamLocalForwarding yes"),
        (SSH, ENGINE, Reason.ENGINE, "systemctl status docker"),
        (SSH, BUILDKIT, Reason.BUILDKIT, "docker buildx inspect --bootstrap"),
        (SSH, ENGINE, Reason.PROTOCOL, "a proxy is in between"),
    ],
)
def test_each_reason(endpoint: Endpoint, layer: Layer, reason: Reason, said: str) -> None:
    assert said in told(endpoint, layer, reason)


@pytest.mark.parametrize("endpoint", [SSH, TLS, UNIX])
@pytest.mark.parametrize("layer", list(Layer))
@pytest.mark.parametrize("reason", list(Reason))
def test_no_failure_is_left_without_advice(
    endpoint: Endpoint, layer: Layer, reason: Reason
) -> None:
    for remote in (False, True):
        assert told(endpoint, layer, reason, remote=remote).endswith(".")


@pytest.mark.parametrize(
    ("reason", "said"),
    [(Reason.BUILDKIT, "whether buildkitd runs"), (Reason.FORWARDING, "install buildctl")],
)
def test_a_bare_buildkitd_has_no_docker_to_look_at(reason: Reason, said: str) -> None:
    text = told(SSH, BUILDKIT, reason, remote=True)
    assert said in text
    assert "docker" not in text


@pytest.mark.parametrize(
    ("reason", "disk", "said"),
    [
        (Reason.PERMISSION, DiskSettings(), "set disk.path"),
        (Reason.PROTOCOL, DiskSettings(), "watched without it"),
        (Reason.REFUSED, DiskSettings(node_exporter="http://n3:9100"), "disk.node_exporter"),
    ],
)
def test_the_disk_has_advice_of_its_own(reason: Reason, disk: DiskSettings, said: str) -> None:
    assert said in told(TLS, TRANSPORT, reason, "disk", disk=disk)
