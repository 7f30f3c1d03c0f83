"""Why an SSH server did not open the daemon's socket, told apart by SFTP."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from random import Random
from typing import Any

import asyncssh
import pytest

from exporter.errors import Layer, NodeError, Reason
from exporter.model import SshEndpoint
from exporter.transports.base import Backoff
from exporter.transports.ssh import SshTransport
from tests.support.ssh_server import SshServer

HEAD = b"Num       RefCount Protocol Flags    Type St Inode Path\n"
LISTENS = b"0000000000000000: 00000002 00000000 00010000 0001 01 %d %s\n"
CONNECTED = b"0000000000000000: 00000003 00000000 00000000 0001 03 %d %s\n"


async def refusal(endpoint: SshEndpoint, daemon: Layer = Layer.ENGINE) -> NodeError:
    there = SshTransport(endpoint, daemon, Backoff(0.0, Random(1)))
    try:
        with pytest.raises(NodeError) as caught:
            await there.dial()
        return caught.value
    finally:
        await there.close()


@pytest.mark.parametrize(
    ("daemon", "reason"), [(Layer.ENGINE, Reason.ENGINE), (Layer.BUILDKIT, Reason.BUILDKIT)]
)
async def test_a_missing_socket_means_no_daemon(
    sshd: SshServer, tmp_path: Path, daemon: Layer, reason: Reason
) -> None:
    failure = await refusal(sshd.endpoint(tmp_path / "none.sock"), daemon)
    assert (failure.layer, failure.reason) == (daemon, reason)
    assert "does not exist on the node" in failure.detail


async def test_a_socket_left_behind_means_no_daemon(sshd: SshServer, tmp_path: Path) -> None:
    """The kernel's own table says so, read over SFTP though its size there is 0."""
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    failure = await refusal(sshd.endpoint(path))
    assert (failure.layer, failure.reason) == (Layer.ENGINE, Reason.ENGINE)
    assert f"no daemon listens on the socket {path}" in failure.detail


async def test_a_daemon_that_listens_means_that_forwarding_is_refused(
    sshd: SshServer, daemon: Path
) -> None:
    sshd.forwards = False
    failure = await refusal(sshd.endpoint(daemon))
    assert (failure.layer, failure.reason) == (Layer.ENGINE, Reason.FORWARDING)


class Node(asyncssh.SFTPServer):
    """A node with ``/run/docker.sock``, to which ``/var/run`` leads, and a table of sockets."""

    table: bytes | None = b""
    writable = True

    def realpath(self, path: bytes) -> bytes:
        return path.replace(b"/var/run/", b"/run/")

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if path == b"/proc/net/unix":
            if self.table is None:
                raise asyncssh.SFTPNoSuchFile("no /proc here")
            return io.BytesIO(self.table)
        if not self.writable:
            raise asyncssh.SFTPPermissionDenied("no")
        raise asyncssh.SFTPFailure("no such device or address")

    def fstat(self, file_obj: Any) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(size=0)


ROWS_BEFORE = b"".join(CONNECTED % (n, b"/run/other.sock") for n in range(2000))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (LISTENS % (1, b"/var/run/docker.sock"), Reason.FORWARDING),
        (LISTENS % (1, b"/run/docker.sock"), Reason.FORWARDING),
        (
            CONNECTED % (1, b"/run/docker.sock") + LISTENS % (2, b"/run/docker.sock"),
            Reason.FORWARDING,
        ),
        (ROWS_BEFORE + LISTENS % (1, b"/run/docker.sock"), Reason.FORWARDING),
        (CONNECTED % (1, b"/run/docker.sock"), Reason.ENGINE),
        (LISTENS % (1, b"/run/docker.sock.old"), Reason.ENGINE),
        (b"", Reason.ENGINE),
        (None, Reason.FORWARDING),
    ],
    ids=[
        "as it was asked for",
        "behind a link",
        "an accepted socket in the row before",
        "at the end of a long table",
        "accepted sockets only",
        "another socket",
        "nothing",
        "no table",
    ],
)
async def test_any_row_of_a_listening_socket_counts(
    tmp_path: Path, table: bytes | None, reason: Reason
) -> None:
    kind = type("Table", (Node,), {"table": None if table is None else HEAD + table})
    async with SshServer(tmp_path, forwards=False, sftp=kind) as sshd:
        failure = await refusal(sshd.endpoint("/var/run/docker.sock"))
    assert (failure.layer, failure.reason) == (Layer.ENGINE, reason)


async def test_a_user_without_the_right_to_write(tmp_path: Path) -> None:
    kind = type("Locked", (Node,), {"writable": False})
    async with SshServer(tmp_path, forwards=False, sftp=kind) as sshd:
        failure = await refusal(sshd.endpoint("/var/run/docker.sock"))
    assert (failure.layer, failure.reason) == (Layer.ENGINE, Reason.PERMISSION)
    assert "no right to write to the socket /var/run/docker.sock" in failure.detail


async def test_without_sftp_nothing_more_can_be_told(tmp_path: Path) -> None:
    async with SshServer(tmp_path, forwards=False, sftp=None) as sshd:
        failure = await refusal(sshd.endpoint("/var/run/docker.sock"))
    assert failure.reason is Reason.FORWARDING
