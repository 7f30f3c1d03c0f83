"""One node of the farm: its servers, its faults, its truth, and builds on it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.realfarm import builds, servers
from tests.realfarm.client import Client
from tests.realfarm.faults import Network, Storage
from tests.realfarm.namespace import Disk, Machine, make_machine
from tests.realfarm.paths import Artifacts
from tests.realfarm.pki import Pair
from tests.realfarm.service import Service
from tests.realfarm.shell import FarmError
from tests.realfarm.slots import Slot
from tests.realfarm.specs import FarmNode
from tests.realfarm.truth import Truth


class Node:
    """A raised node."""

    def __init__(self, slot: Slot, spec: FarmNode, client: Client, artifacts: Artifacts) -> None:
        self.spec, self._client, self.slot = spec, client, slot
        shared = slot.runtime / spec.name if spec.shared else None
        kind = "docker" if spec.engine == "dockerd" else "buildkit"
        self.root = f"{shared}/docker" if shared else f"/var/lib/{kind}"
        """Where the engine keeps its data, and where the disk is mounted."""
        disk = Disk(spec.size_mb, spec.inodes, self.root)
        self.machine: Machine = make_machine(
            slot, spec.name, spec.host, artifacts.roots[spec.suite], artifacts.tools, disk, shared
        )
        self.network = Network(self.machine)
        self.disk = Storage(self.machine, self.root)
        self.truth = Truth(self.machine, self.root)
        if spec.tcp:
            servers.install_certificate(self.machine, self.good_certificate(), self._authority)
        make = servers.dockerd if spec.engine == "dockerd" else servers.buildkitd
        self.engine: Service = make(self.machine, spec, self.root)
        self._sshd = servers.Sshd(self.machine, spec, client) if spec.ssh else None
        self._node_exporter = servers.node_exporter(self.machine) if spec.node_exporter else None

    @property
    def name(self) -> str:
        """The node's name in the farm."""
        return self.spec.name

    @property
    def address(self) -> str:
        """The node's IP address; ``local`` has one, but is reached by its socket."""
        return self.machine.address

    @property
    def socket(self) -> Path:
        """The engine's socket, as this machine can open it."""
        if self.spec.shared:
            return self.slot.runtime / self.name / "docker.sock"
        inside = servers.SOCKET if self.spec.engine == "dockerd" else servers.BUILDKIT_SOCKET
        return self.machine.path(inside)

    @property
    def endpoint(self) -> str:
        """The URL by which the exporter and buildx reach the node."""
        if self.spec.ssh:
            return f"ssh://root@{self.address}"
        return (
            f"tcp://{self.address}:{self.spec.port}" if self.spec.tcp else f"unix://{self.socket}"
        )

    @property
    def sshd(self) -> servers.Sshd:
        """Its SSH server."""
        if self._sshd is None:
            raise FarmError(f"{self.name} has no sshd")
        return self._sshd

    @property
    def node_exporter(self) -> Service:
        """Its node_exporter."""
        if self._node_exporter is None:
            raise FarmError(f"{self.name} has no node_exporter")
        return self._node_exporter

    @property
    def builders(self) -> tuple[str, ...]:
        """Its builders, as the exporter calls them."""
        if self.spec.engine == "buildkitd":
            return ("buildkitd",)
        return ("docker", self.spec.container) if self.spec.container else ("docker",)

    @property
    def container_name(self) -> str:
        """The container of its container builder."""
        return f"buildx_buildkit_{self.spec.container}"

    def config(self) -> dict[str, Any]:
        """The node as an entry of the exporter's ``nodes``."""
        entry: dict[str, Any] = {"name": self.name, "endpoint": self.endpoint}
        if self.spec.tcp:
            entry["tls"] = self._client.tls
        if self.spec.engine == "buildkitd":
            entry["driver"] = "remote"
        if self._node_exporter is not None:
            url = f"http://{self.address}:{servers.NODE_EXPORTER_PORT}/metrics"
            entry["disk"] = {"node_exporter": url}
            if self.spec.engine == "buildkitd":
                entry["disk"]["path"] = self.root
        return entry

    def start(self) -> None:
        """Start all its servers, pull the base image, and boot its container builder.

        Engine 20.10's BuildKit can't pull by plain HTTP, but takes what the Engine has pulled.
        """
        for service in self._services:
            service.start()
        if self.spec.engine == "dockerd":
            for tag in ("latest", "stable"):
                self.run(["docker", "pull", "--quiet", f"busybox:{tag}"])
        if self.spec.builder:
            self._create_builder()

    def run(self, argv: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on the node as root, to its end; see :meth:`Machine.run`."""
        return self.machine.run(argv, **options)

    def spawn(self, argv: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        """Start a command on the node as root, and don't wait for its end."""
        return self.machine.spawn(argv, log)

    def build(
        self,
        builder: str,
        dockerfile: str,
        files: Mapping[str, bytes] | None = None,
        *,
        options: Sequence[str] = (),
        timeout: float = 120,
    ) -> str:
        """Really build on one of :attr:`builders`; the build's progress as text.

        ``options`` are those of ``docker build``, ``docker buildx build`` or ``buildctl build``.
        """
        args = (self.machine, self.spec, self._client, builder, dockerfile)
        return builds.build(*args, files or {}, options, timeout)

    def good_certificate(self) -> Pair:
        """A server certificate as it should be."""
        return self._client.authority.server(self.address)

    @contextmanager
    def certificate(self, pair: Pair) -> Iterator[None]:
        """Serve another certificate inside; the engine is restarted for it, and after it."""
        try:
            self._install(pair)
            yield
        finally:
            self._install(self.good_certificate())

    @contextmanager
    def builder_stopped(self) -> Iterator[None]:
        """The builder's container stopped inside."""
        self.run(["docker", "stop", self.container_name])
        try:
            yield
        finally:
            self.run(["docker", "start", self.container_name])

    @contextmanager
    def builder_removed(self) -> Iterator[None]:
        """The builder's container removed inside; its state volume stays, and so is orphaned."""
        self.run(["docker", "rm", "--force", self.container_name])
        try:
            yield
        finally:
            self.boot_builder()

    @contextmanager
    def socket_mode(self, mode: int) -> Iterator[None]:
        """Other permissions of the engine's socket inside."""
        before = self.socket.stat().st_mode & 0o7777
        self.socket.chmod(mode)
        try:
            yield
        finally:
            self.socket.chmod(before)

    def boot_builder(self) -> None:
        """Start the builder's container, or make it anew, as ``docker buildx`` does."""
        self._client.docker("buildx", "inspect", "--bootstrap", str(self.spec.builder))

    @property
    def _authority(self) -> bytes:
        return self._client.authority.certificate

    @property
    def _services(self) -> list[Service]:
        every = (self.engine, self._sshd, self._node_exporter)
        return [service for service in every if service is not None]

    def _install(self, pair: Pair) -> None:
        servers.install_certificate(self.machine, pair, self._authority)
        self.engine.restart()

    def _create_builder(self) -> None:
        builder = str(self.spec.builder)
        argv = ["buildx", "create", "--name", builder, "--node", f"{builder}0"]
        if self.spec.engine == "buildkitd":
            options = {
                "cacert": self._client.tls["ca"],
                "cert": self._client.tls["cert"],
                "key": self._client.tls["key"],
            }
            argv += ["--driver", "remote", *_driver_options(options), self.endpoint]
            self._client.docker(*argv)
            return
        config = self._client.home / f"{builder}.toml"
        config.write_text(servers.buildkit_config(self.machine, self.spec))
        options = {"cgroup-parent": f"/{self.slot.name(self.name)}"}
        argv += ["--driver", "docker-container", *_driver_options(options)]
        argv += [f"--buildkitd-config={config}", self._buildx_endpoint()]
        self._client.docker(*argv)
        self.boot_builder()

    def _buildx_endpoint(self) -> str:
        """The endpoint, or a Docker context where it needs certificates."""
        if not self.spec.tcp:
            return self.endpoint
        where = ",".join(
            [f"host={self.endpoint}", *(f"{k}={v}" for k, v in self._client.tls.items())]
        )
        context = f"{self.name}-context"  # a context and a builder can't have the same name
        self._client.docker("context", "create", context, "--docker", where)
        return context


def _driver_options(options: Mapping[str, str]) -> list[str]:
    return [f"--driver-opt={name}={value}" for name, value in options.items()]
