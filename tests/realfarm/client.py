"""The user's side of the farm: a home with keys and certificates, the real docker and buildx."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from tests.realfarm.paths import Artifacts
from tests.realfarm.pki import Authority
from tests.realfarm.shell import run
from tests.realfarm.slots import Slot

KEYS = ("full", "restricted", "stranger")
"""SSH keys: of a user with a shell; of one with a socket and SFTP only; one that no node knows."""


class Client:
    """A home directory that nothing else of this machine's user gets into."""

    def __init__(self, slot: Slot, artifacts: Artifacts) -> None:
        self.home = slot.runtime / "client"
        self.tools = artifacts.tools
        self.ssh_folder = self.home / ".ssh"
        self.known_hosts = self.ssh_folder / "known_hosts"
        self.authority = Authority("farm")
        self._host_keys: dict[str, str] = {}
        self._lock = threading.Lock()
        self.ssh_folder.mkdir(parents=True, mode=0o700)
        for name in KEYS:
            make_key(self.ssh_folder / name)
        self._write_tls()
        self._write_ssh()
        self._write_docker(artifacts.roots["trixie"])

    @property
    def env(self) -> dict[str, str]:
        """The environment of a user who works on the farm."""
        return {
            "HOME": str(self.home),
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "BUILDX_CONFIG": str(self.home / ".docker" / "buildx"),
            "PATH": f"{self.home}/bin:{self.tools}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
        }

    @property
    def tls(self) -> dict[str, str]:
        """The client's TLS files, as a node's ``tls`` section has them."""
        return {
            "ca": str(self.home / "tls" / "ca.pem"),
            "cert": str(self.home / "tls" / "cert.pem"),
            "key": str(self.home / "tls" / "cert-key.pem"),
        }

    def key(self, name: str) -> Path:
        """One of :data:`KEYS`."""
        return self.ssh_folder / name

    def public_key(self, name: str) -> str:
        """The public half of one of :data:`KEYS`."""
        return self.key(name).with_suffix(".pub").read_text().strip()

    def trust_host(self, address: str, public_key: str) -> None:
        """Let ``known_hosts`` have this key, and no other, for the address."""
        kind, data = public_key.split()[:2]
        with self._lock:
            self._host_keys[address] = f"{address} {kind} {data}\n"
            self.known_hosts.write_text("".join(self._host_keys.values()))

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float = 120,
        stdin: bytes | str = b"",
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user: ``docker``, ``buildctl``, ``ssh``, ``buildfarm-exporter``."""
        words = list(argv)
        return run(
            [shutil.which(str(words[0]), path=self.env["PATH"]) or words[0], *words[1:]],
            timeout=timeout,
            stdin=stdin,
            check=check,
            env=self.env,
            cwd=self.home,
        )

    def docker(self, *argv: str, timeout: float = 120, stdin: bytes | str = b"") -> str:
        """Run the real ``docker`` (with buildx as its plugin); what it prints."""
        return self.run(["docker", *argv], timeout=timeout, stdin=stdin).stdout

    def ssh(
        self,
        address: str,
        *command: str,
        key: str = "full",
        user: str = "root",
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command by the real ssh with one of :data:`KEYS`, whether it works or not."""
        argv = self.ssh_argv(address, *command, key=key, user=user, options=options)
        return self.run(argv, check=False, timeout=60)

    def ssh_argv(
        self,
        address: str,
        *command: str,
        key: str = "full",
        user: str = "root",
        options: Sequence[str] = (),
    ) -> list[str]:
        """The command line of the real ssh."""
        identity = ["-i", str(self.key(key))]
        return [*self._openssh(), *identity, *options, f"{user}@{address}", *command]

    def _openssh(self) -> list[str]:
        return [shutil.which("ssh") or "ssh", "-F", str(self.ssh_folder / "config")]

    def _write_tls(self) -> None:
        pair = self.authority.client("exporter")
        pair.write(self.home / "tls", "cert")
        (self.home / "tls" / "ca.pem").write_bytes(self.authority.certificate)

    def _write_ssh(self) -> None:
        (self.ssh_folder / "config").write_text(
            "Host *\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile none\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n  ConnectTimeout 10\n"
        )
        # OpenSSH takes the home from the user database, not from HOME.
        self._script("ssh", [*self._openssh(), "-i", str(self.key("full"))])

    def _write_docker(self, root: Path) -> None:
        plugins = self.home / ".docker" / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-buildx").symlink_to(self.tools / "buildx")
        libraries = root / "usr/lib/x86_64-linux-gnu"
        loader = [str(root / "usr/lib64/ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
        self._script("docker", [*loader, str(root / "usr/bin/docker")])

    def _script(self, name: str, argv: list[str]) -> None:
        path = self.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
        path.chmod(0o755)


def make_key(path: Path) -> None:
    """Make an Ed25519 key pair."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path])
