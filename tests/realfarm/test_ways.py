"""Ways over SSH to a node: with how little right they work, and whom they never trust."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.realfarm.caches import served, told
from tests.realfarm.daemon import Daemon
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import run
from tests.realfarm.watching import agree, failure, wait_all_fresh

COLLECT = dict.fromkeys(("reachability", "disk", "cache", "workers", "orphans"), "1s")
NODES = ("old", "new")


def _log(node: Node, since: int, *words: str) -> list[str]:
    """What the node's sshd has logged since, of lines with one of these words."""
    lines = node.sshd.log.read_bytes()[since:].decode(errors="replace").splitlines()
    return [line for line in lines if any(word in line for word in words)]


def _works(exporter: Daemon, *nodes: Node) -> None:
    """Everything is collected, and the caches are what the nodes tell."""
    wait_all_fresh(exporter, [node.name for node in nodes])
    for node in nodes:
        for builder in node.builders:
            agree(
                exporter,
                lambda s, n=node, b=builder: served(s, n.name, b),  # type: ignore[misc]
                lambda n=node, b=builder: told(n, b, time.time()),  # type: ignore[misc]
            )


@pytest.mark.parametrize("key", ["restricted", "full"])
@pytest.mark.parametrize("user", ["root", "builder"])
def test_no_command_is_run(farm: Farm, daemon: Callable[..., Daemon], key: str, user: str) -> None:
    """A key without a shell is enough for everything, and with a shell none is used either."""
    nodes = [farm[name] for name in NODES]
    since = {node: node.sshd.log.stat().st_size for node in nodes}
    config = farm.config(*NODES, key=key, collect=COLLECT)
    for entry, node in zip(config["nodes"], nodes, strict=True):
        entry["endpoint"] = f"ssh://{user}@{node.address}"
    exporter = daemon(config)
    _works(exporter, *nodes)
    for node in nodes:
        sessions = _log(node, since[node], "Starting session:")
        assert sessions
        assert all("'internal-sftp'" in line or "'sftp'" in line for line in sessions), sessions
        assert not node.run(["pgrep", "-u", user, "-fa", "docker .*dial"], check=False).stdout
        assert exporter.scrape().value("buildfarm_node_connects_total", node=node.name) == 1


def _encrypted(farm: Farm, folder: Path) -> dict[str, Any]:
    """An encrypted copy of the key."""
    key = folder / "key"
    key.write_bytes(farm.client.key("full").read_bytes())
    key.chmod(0o600)
    run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", key])
    return {"identity_files": [str(key)]}


def test_encrypted_key(farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """It is opened with the passphrase that a file holds; without it, or by another, it is not."""
    config = farm.config(*NODES, collect=COLLECT)
    config["ssh"] |= _encrypted(farm, tmp_path)
    for passphrase, wanted in (
        (None, ("transport", "auth")),
        ("open barley", ("transport", "auth")),
        ("open sesame", None),
    ):
        if passphrase:
            (tmp_path / "passphrase").write_text(f"{passphrase}\n")
            (tmp_path / "passphrase").chmod(0o600)
            config["ssh"]["passphrase_file"] = str(tmp_path / "passphrase")
        exporter = daemon(config)
        assert failure(exporter.scrape(), "old") == wanted
        assert "open " not in exporter.log.read_text()
    _works(exporter, farm["old"], farm["new"])


@contextmanager
def _agent(farm: Farm, folder: Path) -> Iterator[str]:
    """An SSH agent that holds the key; its socket."""
    socket = str(folder / "agent")
    said = run(["ssh-agent", "-s", "-a", socket]).stdout
    pid = int(said.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    try:
        env = {**os.environ, "SSH_AUTH_SOCK": socket}
        run(["ssh-add", "-q", farm.client.key("restricted")], env=env)
        yield socket
    finally:
        os.kill(pid, signal.SIGTERM)


def test_agent(farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """The agent's key is used where no other is; without an agent there is none."""
    config = farm.config(*NODES, collect=COLLECT)
    del config["ssh"]["identity_files"]
    assert failure(daemon(config).scrape(), "new") == ("transport", "auth")
    with _agent(farm, tmp_path) as socket:
        exporter = daemon(config, SSH_AUTH_SOCK=socket)
        _works(exporter, farm["old"], farm["new"])


@pytest.mark.parametrize("key", ["full", "restricted"])
def test_jump_host(farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path, key: str) -> None:
    """``ProxyJump`` of ``~/.ssh/config`` counts: the node is reached from the jump host only."""
    node, jump = farm["new"], farm["old"]
    ssh = tmp_path / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text(
        f"Host behind\n  HostName {node.address}\n  User root\n  ProxyJump jump\n"
        f"Host jump\n  HostName {jump.address}\n  User builder\n"
        f"Host *\n  IdentityFile {farm.client.key(key)}\n"
    )
    (ssh / "known_hosts").write_bytes(farm.client.known_hosts.read_bytes())
    config = {"nodes": [{"name": "new", "endpoint": "ssh://behind"}], "collect": COLLECT}
    since = node.sshd.log.stat().st_size
    exporter = daemon(config, HOME=str(tmp_path))
    _works(exporter, node)
    accepted = _log(node, since, "Accepted publickey")
    assert len(accepted) == 1
    assert f"for root from {jump.address}" in accepted[0]


@contextmanager
def _new_machine(farm: Farm, file: Path) -> Iterator[None]:
    """The host is in no known hosts file."""
    del farm
    file.write_text("# none\n")
    yield


@contextmanager
def _impostor(farm: Farm, file: Path) -> Iterator[None]:
    """The host has another key than the one that is known."""
    file.write_bytes(farm.client.known_hosts.read_bytes())
    with farm["new"].sshd.other_host_key():
        yield


LAX = [
    "StrictHostKeyChecking no",
    "StrictHostKeyChecking accept-new",
    "StrictHostKeyChecking no\n  UserKnownHostsFile none\n  GlobalKnownHostsFile none",
    "StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null",
    "NoHostAuthenticationForLocalhost yes\n  CheckHostIP no\n  VerifyHostKeyDNS yes",
]


@pytest.mark.parametrize("trouble", [_new_machine, _impostor])
def test_unknown_host_is_refused(
    farm: Farm, daemon: Callable[..., Daemon], tmp_path: Path, trouble: Callable[..., Any]
) -> None:
    """Whatever the SSH configuration says, with and without ``known_hosts`` of our own."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir(mode=0o700)
    nodes, names = [], []
    for number, options in enumerate(LAX):
        text = f"Host *\n  HostName {farm['new'].address}\n  {options}\n"
        (ssh / f"config{number}").write_text(text)
        for known in ({}, {"known_hosts": [str(ssh / "known_hosts")]}):
            files = {"config_files": [str(ssh / f"config{number}")]}
            name = f"lax{number}{len(known)}"
            nodes.append({"name": name, "endpoint": f"ssh://root@{name}", "ssh": files | known})
            names.append(name)
    config = {"nodes": nodes, "ssh": {"identity_files": [str(farm.client.key("full"))]}}
    with trouble(farm, ssh / "known_hosts"):
        since = farm["new"].sshd.log.stat().st_size
        exporter = daemon(config, HOME=str(tmp_path))
        scrape = exporter.scrape()
        failures = {name: failure(scrape, name) for name in names}
        assert failures == dict.fromkeys(names, ("transport", "host_key"))
        assert _log(farm["new"], since, "Connection from")
        assert not _log(farm["new"], since, "Accepted")


@pytest.mark.parametrize("name", NODES)
def test_dial_stdio_where_forwarding_is_refused(
    farm: Farm, daemon: Callable[..., Daemon], name: str
) -> None:
    """Where the server does not forward, Docker's own command leads to the same."""
    node = farm[name]
    since = node.sshd.log.stat().st_size
    with node.sshd.options(AllowStreamLocalForwarding="no"):
        exporter = daemon(farm.config(name, collect=COLLECT))
        _works(exporter, node)
        assert "docker" in node.run(["pgrep", "-fa", "system dial-stdio"]).stdout
        assert exporter.scrape().value("buildfarm_node_connects_total", node=name) == 1
        assert any("command" in line for line in _log(node, since, "Starting session:"))
        exporter.stop()
    assert not node.run(["pgrep", "-fa", "system dial-stdio"], check=False).stdout


@pytest.mark.parametrize("key", ["full", "restricted"])
def test_user_without_rights(farm: Farm, daemon: Callable[..., Daemon], key: str) -> None:
    """Who may log in but not use Docker's socket is told so; the disk is seen all the same."""
    config = farm.config(*NODES, key=key, collect=COLLECT)
    for entry in config["nodes"]:
        entry["endpoint"] = entry["endpoint"].replace("root@", "visitor@")
        entry["disk"] = {"path": farm[entry["name"]].root}
    exporter = daemon(config)
    exporter.wait("both disks", lambda s: len(s.all("buildfarm_disk_inodes")) == len(NODES))
    for name in NODES:
        assert failure(exporter.scrape(), name) == ("engine", "permission")
        labels = {"node": name, "path": farm[name].root}
        inodes = farm[name].truth.file_system().inodes
        assert exporter.scrape().value("buildfarm_disk_inodes", **labels) == inodes
