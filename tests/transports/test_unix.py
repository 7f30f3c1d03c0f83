"""A daemon's socket on this machine."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import UnixEndpoint
from exporter.transports.unix import UnixTransport

DAEMONS = [(Layer.ENGINE, Reason.ENGINE), (Layer.BUILDKIT, Reason.BUILDKIT)]


def transport(path: Path, daemon: Layer = Layer.ENGINE) -> UnixTransport:
    return UnixTransport(UnixEndpoint(str(path)), daemon)


async def test_each_stream_is_a_connection(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    path = tmp_path / "s"
    here = transport(path)
    async with await asyncio.start_unix_server(echo, path):
        for _ in range(2):
            stream = await here.dial()
            stream.write(b"hello")
            assert await stream.read(100) == b"hello"
            stream.close()
    assert here.connects == 2
    assert await here.certificates() is None
    await here.probe()
    here.reset()
    await here.close()


@pytest.mark.parametrize(("daemon", "reason"), DAEMONS)
async def test_no_socket_means_no_daemon(tmp_path: Path, daemon: Layer, reason: Reason) -> None:
    with pytest.raises(NodeError, match="does not exist") as caught:
        await transport(tmp_path / "s", daemon).dial()
    assert (caught.value.layer, caught.value.reason) == (daemon, reason)


@pytest.mark.parametrize(("daemon", "reason"), DAEMONS)
async def test_a_socket_left_behind_means_no_daemon(
    tmp_path: Path, daemon: Layer, reason: Reason
) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(NodeError, match="is not listened to") as caught:
        await transport(tmp_path / "s", daemon).dial()
    assert (caught.value.layer, caught.value.reason) == (daemon, reason)


async def test_a_daemon_that_accepts_nobody_times_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as other:
        hung.bind(str(tmp_path / "s"))
        hung.listen(0)
        other.connect(str(tmp_path / "s"))
        with pytest.raises(NodeError, match="accepts nobody") as caught:
            await transport(tmp_path / "s").dial()
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.TIMEOUT)


async def test_statvfs_looks_at_this_machine(tmp_path: Path) -> None:
    disk = await transport(tmp_path / "s").statvfs(str(tmp_path))
    truth = os.statvfs(tmp_path)
    assert (disk.path, disk.size) == (str(tmp_path), truth.f_blocks * truth.f_frsize)
    assert disk.inodes == truth.f_files
    assert 0 < disk.available <= disk.size


async def test_a_path_that_is_not_in_our_view_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="not visible to the exporter"):
        await transport(tmp_path / "s").statvfs(str(tmp_path / "docker"))
