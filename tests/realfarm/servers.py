"""The servers of a node: how each is configured, started, and known to answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.realfarm.client import Client, make_key
from tests.realfarm.engineapi import pings
from tests.realfarm.namespace import Machine
from tests.realfarm.pki import Pair
from tests.realfarm.service import Service
from tests.realfarm.specs import HUB, FarmNode

REGISTRY_PORT, NODE_EXPORTER_PORT = 5000, 9100
SOCKET = "/run/docker.sock"
BUILDKIT_SOCKET = "/run/buildkit/buildkitd.sock"
RESTRICTED = 'restrict,port-forwarding,command="internal-sftp"'
"""What an authorized key needs at least: no shell, but the Docker socket and ``statvfs``."""
USERS = {"root": "/root", "builder": "/home/builder", "visitor": "/home/visitor"}
"""Who logs in: root; a member of the group docker; somebody who may not use the socket."""


class Sshd(Service):
    """OpenSSH's server, with options and host keys that tests change."""

    def __init__(self, machine: Machine, spec: FarmNode, client: Client) -> None:
        super().__init__(machine, "sshd", self._command, lambda: answers(machine.address, 22))
        self._client = client
        self.settings: dict[str, str] = {}
        if spec.suite == "trixie":
            # A test that logs in with a wrong key would lock the next one out.
            self.settings["PerSourcePenalties"] = "no"
        for user, home in USERS.items():
            lines = [client.public_key("full"), f"{RESTRICTED} {client.public_key('restricted')}"]
            write(machine, f"{home}/.ssh/authorized_keys", "\n".join(lines) + "\n")
            machine.run(["chown", "-R", f"{user}:", f"{home}/.ssh"])
        self.make_host_key()

    def make_host_key(self, *, trusted: bool = True) -> None:
        """Make a new host key; where it is not ``trusted`` the client's known_hosts has the old."""
        folder = self.machine.slot.disks / self.machine.name
        for old in folder.glob("host_key*"):
            old.unlink()
        make_key(folder / "host_key")
        write(self.machine, "/etc/ssh/host_key", (folder / "host_key").read_text(), 0o600)
        if trusted:
            public = (folder / "host_key.pub").read_text()
            self._client.trust_host(self.machine.address, public)

    @contextmanager
    def other_host_key(self) -> Iterator[None]:
        """A host key that the client does not know inside: what an impostor looks like."""
        self.stop()
        self.make_host_key(trusted=False)
        self.start()
        try:
            yield
        finally:
            self.stop()
            self.make_host_key()
            self.start()

    @contextmanager
    def options(self, **options: str) -> Iterator[None]:
        """Other options inside, such as ``AllowStreamLocalForwarding="no"``."""
        before = dict(self.settings)
        self.settings |= options
        self.restart()
        try:
            yield
        finally:
            self.settings = before
            self.restart()

    def _command(self) -> list[str]:
        fixed = {
            "HostKey": "/etc/ssh/host_key",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "MaxStartups": "500",
            "Subsystem": "sftp internal-sftp",
            "LogLevel": "VERBOSE",
        }
        lines = [f"{name} {value}\n" for name, value in (self.settings | fixed).items()]
        write(self.machine, "/etc/ssh/farm_config", "".join(lines))
        return ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/farm_config"]


def dockerd(machine: Machine, spec: FarmNode, root: str) -> Service:
    """The Docker Engine, on its socket and wherever else the node is reached."""
    slot = machine.slot
    argv = [
        "dockerd",
        f"--host=unix://{SOCKET}",
        f"--data-root={root}",
        "--storage-driver=overlay2",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        f"--cgroup-parent=/{slot.name(spec.name)}",
        f"--registry-mirror=http://{slot.address(HUB)}:{REGISTRY_PORT}",
        f"--insecure-registry={slot.address(HUB)}:{REGISTRY_PORT}",
    ]
    if spec.shared:
        argv.append(f"--host=unix://{slot.runtime}/{spec.name}/docker.sock")
    if spec.tcp:
        argv += [f"--host=tcp://0.0.0.0:{spec.port}", "--tlsverify", *_tls_flags()]
    return Service(machine, "dockerd", lambda: argv, lambda: pings(machine.path(SOCKET)))


def buildkitd(machine: Machine, spec: FarmNode, root: str) -> Service:
    """A bare BuildKit daemon on TCP."""
    write(machine, "/etc/buildkit/buildkitd.toml", buildkit_config(machine, spec))
    argv = [
        "buildkitd",
        f"--root={root}",
        f"--addr=unix://{BUILDKIT_SOCKET}",
        f"--addr=tcp://0.0.0.0:{spec.port}",
        *_tls_flags(),
    ]

    def ready() -> bool:
        return machine.run(["buildctl", "debug", "workers"], check=False).returncode == 0

    return Service(machine, "buildkitd", lambda: argv, ready)


def buildkit_config(machine: Machine, spec: FarmNode) -> str:
    """BuildKit's configuration: Docker Hub is the farm's registry."""
    hub = f"{machine.slot.address(HUB)}:{REGISTRY_PORT}"
    text = f'[registry."docker.io"]\n  mirrors = ["{hub}"]\n[registry."{hub}"]\n  http = true\n'
    if spec.engine == "buildkitd":
        group = machine.slot.name(spec.name)
        text += f'[worker.oci]\n  defaultCgroupParent = "/{group}"\n'
    return text


def node_exporter(machine: Machine) -> Service:
    """Prometheus' node_exporter, with the file systems only."""
    argv = ["prometheus-node-exporter", f"--web.listen-address=:{NODE_EXPORTER_PORT}"]
    argv += ["--collector.disable-defaults", "--collector.filesystem"]
    return Service(
        machine, "node_exporter", lambda: argv, lambda: answers(machine.address, NODE_EXPORTER_PORT)
    )


def registry(machine: Machine) -> Service:
    """An image registry over plain HTTP."""
    write(
        machine,
        "/etc/docker/registry/config.yml",
        "version: 0.1\nlog: {accesslog: {disabled: true}}\n"
        "storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}\n"
        f"http: {{addr: ':{REGISTRY_PORT}'}}\n",
    )
    argv = ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
    return Service(
        machine, "registry", lambda: argv, lambda: answers(machine.address, REGISTRY_PORT)
    )


def install_certificate(machine: Machine, pair: Pair, authority: bytes) -> None:
    """Put the server's certificate in place; the server reads it when it starts."""
    write(machine, "/etc/node/ca.pem", authority)
    write(machine, "/etc/node/cert.pem", pair.certificate)
    write(machine, "/etc/node/key.pem", pair.key, 0o600)


def write(machine: Machine, path: str, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file on the machine, as root."""
    outside: Path = machine.path(path)
    outside.parent.mkdir(parents=True, exist_ok=True)
    outside.write_bytes(content.encode() if isinstance(content, str) else content)
    outside.chmod(mode)


def answers(address: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _tls_flags() -> list[str]:
    return [
        "--tlscacert=/etc/node/ca.pem",
        "--tlscert=/etc/node/cert.pem",
        "--tlskey=/etc/node/key.pem",
    ]
