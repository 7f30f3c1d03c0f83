"""From Debian: packages on this machine, root file systems for nodes, single static programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.realfarm.recipes import Log, Recipe, log_file
from tests.realfarm.shell import FarmError, run

HOST_COMMANDS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "tc": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "nsenter": "util-linux",
    "losetup": "mount",
    "promtool": "prometheus",
    "amtool": "prometheus-alertmanager",
    "pg_createcluster": "postgresql",
}
"""What is run on this machine, and the package that has it."""
_NODE = (
    "openssh-server,docker.io,iproute2,iptables,nftables,ca-certificates,prometheus-node-exporter"
)
SUITES = {"bookworm": _NODE, "trixie": f"{_NODE},docker-cli,docker-buildx,docker-registry"}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_POLICY = Path("/usr/sbin/policy-rc.d")
_FURNISH = """\
: > /etc/resolv.conf
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /usr/share/doc /usr/share/man /etc/ssh/ssh_host_*
useradd --create-home --shell /bin/bash --groups docker builder
useradd --create-home --shell /bin/bash visitor
usermod -p '*' builder
usermod -p '*' visitor
mkdir -p /var/lib/buildkit /var/lib/docker /opt/farm
"""


def install_on_host() -> None:
    """Install what is missing of :data:`HOST_COMMANDS`, without starting any service."""
    missing = {package for command, package in HOST_COMMANDS.items() if not shutil.which(command)}
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise FarmError(f"install {', '.join(sorted(missing))}: there is no apt-get here to do it")
    log = Log(log_file("apt"))
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    log.run(["apt-get", "update"], timeout=600, env=env)
    with _no_services():
        log.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *sorted(missing)],
            timeout=1200,
            env=env,
        )


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting their services while they are being installed."""
    if _POLICY.exists():  # a container image's own says the same, and stays
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def mirror() -> str:
    """The Debian mirror that this machine's own apt uses.

    :raises FarmError: where it uses none; ``BUILDFARM_TEST_DEBIAN_MIRROR`` then says which.
    """
    if own := os.environ.get("BUILDFARM_TEST_DEBIAN_MIRROR"):
        return own
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    known = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]).stdout
    for line in known.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == label == "Debian" and uri.startswith(("http://", "https://", "file:")):
            return uri
    raise FarmError(
        "no Debian mirror in this machine's apt sources; run `apt-get update`, or give its URL "
        "in BUILDFARM_TEST_DEBIAN_MIRROR"
    )


def root_recipe(suite: str) -> Recipe:
    """A root file system with a Docker Engine, sshd and what else a node runs."""

    def make(half: Path, log: Log) -> None:
        packages = f"--include={SUITES[suite]}"
        log.run(["debootstrap", "--variant=minbase", packages, suite, half, mirror()], timeout=1200)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        log.run(["chroot", half, "sh", "-euxc", _FURNISH], timeout=60, env={"PATH": path})

    return Recipe(f"root-{suite}", (suite, SUITES[suite], _FURNISH), make)


def debs_recipe() -> Recipe:
    """Static busybox for two architectures and the emulator between them; nothing is installed."""
    suite = "bookworm"
    wanted = {
        "busybox-static:amd64": ("bin/busybox", "busybox-amd64"),
        "busybox-static:arm64": ("bin/busybox", "busybox-arm64"),
        "qemu-user-static:amd64": ("usr/bin/qemu-aarch64-static", "qemu-aarch64-static"),
    }

    def make(half: Path, log: Log) -> None:
        apt = half / "apt"
        for folder in ("lists/partial", "archives/partial", "unpacked"):
            (apt / folder).mkdir(parents=True)
        (apt / "status").touch()
        (apt / "sources.list").write_text(
            f"deb [arch=amd64,arm64 signed-by={_KEYRING}] {mirror()} {suite} main\n"
        )
        (apt / "apt.conf").write_text(
            'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; "arm64"; };\n'
            'APT::Sandbox::User "root";\nDir::Etc::sourceparts "/dev/null";\n'
            f'Dir::Etc::sourcelist "{apt}/sources.list";\nDir::State::lists "{apt}/lists";\n'
            f'Dir::State::status "{apt}/status";\nDir::Cache "{apt}";\n'
        )
        env = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
        log.run(["apt-get", "update"], timeout=600, env=env)
        log.run(["apt-get", "download", *wanted], timeout=600, env=env, cwd=apt)
        for package, (inside, name) in wanted.items():
            stem, arch = package.split(":")
            (deb,) = apt.glob(f"{stem}_*_{arch}.deb")
            into = apt / "unpacked" / name
            log.run(["dpkg-deb", "-x", deb, into], timeout=60)
            shutil.copy2(into / inside, half / name)
        shutil.rmtree(apt)

    return Recipe("debs", (suite, repr(wanted)), make)
