"""Faults that need more than one step, each undone when its ``with`` ends.

A kept connection outlives what happens to its server: it is ended, so that the next one meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

from tests.realfarm import servers
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.pki import Authority

Fault = Callable[[Farm, Node], AbstractContextManager[None]]

KEYS = f"{servers.USERS['root']}/.ssh/authorized_keys"


def end_sessions(node: Node) -> None:
    """End every SSH connection to the node; its server goes on."""
    users = "|".join(servers.USERS)
    node.run(["pkill", "-f", f"^sshd(-session)?: ({users})"], check=False)


@contextmanager
def sshd_stopped(farm: Farm, node: Node) -> Iterator[None]:
    """No sshd, and no connection of it."""
    del farm
    with node.sshd.stopped():
        end_sessions(node)
        yield


@contextmanager
def host_key_changed(farm: Farm, node: Node) -> Iterator[None]:
    """Another machine seems to answer."""
    del farm
    with node.sshd.other_host_key():
        end_sessions(node)
        yield


@contextmanager
def no_forwarding(farm: Farm, node: Node) -> Iterator[None]:
    """The server refuses to forward to sockets."""
    del farm
    with node.sshd.options(AllowStreamLocalForwarding="no"):
        end_sessions(node)
        yield


@contextmanager
def key_not_accepted(farm: Farm, node: Node) -> Iterator[None]:
    """Somebody has taken our key out of root's authorized keys."""
    del farm
    node.run(["mv", KEYS, f"{KEYS}.away"])
    try:
        end_sessions(node)
        yield
    finally:
        node.run(["mv", f"{KEYS}.away", KEYS])


@contextmanager
def not_in_group(farm: Farm, node: Node) -> Iterator[None]:
    """The user ``builder`` is no member of the group that may use Docker's socket."""
    del farm
    node.run(["gpasswd", "--delete", "builder", "docker"])
    try:
        end_sessions(node)
        yield
    finally:
        node.run(["gpasswd", "--add", "builder", "docker"])


@contextmanager
def socket_closed(farm: Farm, node: Node) -> Iterator[None]:
    """Docker's socket is root's alone."""
    del farm
    with node.socket_mode(0o600):
        end_sessions(node)
        yield


def name_node(farm: Farm, node: Node, host: str | None = None) -> Path:
    """An SSH configuration in which ``NODE.farm`` is the node, or ``host``."""
    file = farm.client.ssh_folder / f"config_{node.name}"
    file.write_text(f"Host {node.name}.farm\n  HostName {host or node.address}\n")
    return file


@contextmanager
def name_gone(farm: Farm, node: Node) -> Iterator[None]:
    """The node's name leads to one that nobody knows (``.invalid`` is reserved for that)."""
    name_node(farm, node, "gone.invalid")
    try:
        end_sessions(node)
        yield
    finally:
        name_node(farm, node)


@contextmanager
def builder_hung(farm: Farm, node: Node) -> Iterator[None]:
    """The BuildKit in the builder's container is there, and does nothing."""
    del farm
    node.run(["pkill", "-STOP", "-x", "buildkitd"])
    try:
        yield
    finally:
        node.run(["pkill", "-CONT", "-x", "buildkitd"])


def expired(farm: Farm, node: Node) -> AbstractContextManager[None]:
    """The server's certificate ended yesterday."""
    pair = farm.client.authority.server(node.address, valid_for=timedelta(days=-1))
    return node.certificate(pair)


def foreign(farm: Farm, node: Node) -> AbstractContextManager[None]:
    """The server's certificate comes from an authority that we do not know."""
    del farm
    return node.certificate(Authority("another").server(node.address))


@contextmanager
def client_refused(farm: Farm, node: Node) -> Iterator[None]:
    """The server knows another authority than that of our certificate."""

    def trust(authority: bytes) -> None:
        servers.install_certificate(node.machine, node.good_certificate(), authority)
        node.engine.restart()

    try:
        trust(Authority("another").certificate)
        yield
    finally:
        trust(farm.client.authority.certificate)
