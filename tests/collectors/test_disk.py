"""The ways to a node's disk, and which one is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.buildkit.builders import BARE, EMBEDDED
from exporter.collectors import disk
from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import Disk, DiskSettings
from tests.collectors.fakes import (
    FARM0,
    NOW,
    SPEC,
    FakeNode,
    FakeStream,
    FakeTransport,
    broken,
    collected,
)

NO_WAY = UnsupportedError(Layer.TRANSPORT, Reason.PROTOCOL, "no statvfs over TCP")
STOPPED = replace(FARM0, name="old", running=False)


def seen(path: str) -> Disk:
    """What ``statvfs`` says of any path."""
    return Disk(path, 100, 40, 10, 4)


def numbers(value: Disk) -> tuple[str, int, int, int, int]:
    return value.path, value.size, value.available, value.inodes, value.inodes_free


@pytest.mark.parametrize(
    ("settings", "bare", "path"),
    [
        (DiskSettings(), False, "/var/lib/docker"),
        (DiskSettings(path="/data"), False, "/data"),
        (DiskSettings(), True, "/var/lib/buildkit"),
    ],
    ids=["Docker's root", "configured", "a bare buildkitd's state"],
)
async def test_which_path_counts(settings: DiskSettings, bare: bool, path: str) -> None:
    node = FakeNode(replace(SPEC, disk=settings), FakeTransport(disk=seen))
    if bare:
        node.engine, node.known = None, (BARE,)
    assert numbers(await collected(disk.COLLECTOR, node)) == (path, 100, 40, 10, 4)


async def test_without_statvfs_a_builder_s_container_is_asked() -> None:
    node = FakeNode(
        transport=FakeTransport(disk=NO_WAY),
        known=(EMBEDDED, STOPPED, FARM0),
        output=b"4096 1000 250 77 7\n",
    )
    found = await collected(disk.COLLECTOR, node)
    assert numbers(found) == ("/var/lib/docker", 4096000, 1024000, 77, 7)
    assert [name for name, _ in node.executed] == ["farm0"]
    assert all(stream.closed for stream in node.streams)


@pytest.mark.parametrize(
    "output",
    [FakeStream(b"", "stat: not found"), FakeStream(b"1 2 3"), FakeStream(b"a b c d e")],
    ids=["stderr", "too short", "no numbers"],
)
async def test_what_stat_says_else_is_an_error(output: FakeStream) -> None:
    said = output.stderr or output.output.decode()
    node = FakeNode(transport=FakeTransport(disk=NO_WAY), known=(FARM0,), output=output)
    with pytest.raises(NodeError, match="stat in farm0") as caught:
        await collected(disk.COLLECTOR, node)
    assert said in caught.value.detail
    assert output.closed


async def test_without_any_way_the_text_says_what_to_configure() -> None:
    node = FakeNode(transport=FakeTransport(disk=NO_WAY), known=(EMBEDDED, STOPPED))
    with pytest.raises(UnsupportedError, match=r"no statvfs over TCP; set disk\.node_exporter"):
        await collected(disk.COLLECTOR, node)


async def test_a_builder_s_container_is_not_asked_for_a_configured_path() -> None:
    """What it would tell is the disk of Docker's root."""
    node = FakeNode(
        replace(SPEC, disk=DiskSettings(path="/data")),
        FakeTransport(disk=NO_WAY),
        known=(FARM0,),
        output=b"4096 1000 250 77 7\n",
    )
    with pytest.raises(UnsupportedError, match=r"set disk\.node_exporter"):
        await collected(disk.COLLECTOR, node)


async def test_another_failure_of_statvfs_is_not_papered_over() -> None:
    refused = broken(Layer.TRANSPORT, Reason.PERMISSION)
    node = FakeNode(transport=FakeTransport(disk=refused), known=(FARM0,))
    with pytest.raises(NodeError) as caught:
        await collected(disk.COLLECTOR, node)
    assert caught.value is refused
    assert not node.executed


async def test_a_configured_node_exporter_goes_first() -> None:
    url = "http://n1.example.com:9100/metrics"
    page = "\n".join(
        f'node_filesystem_{name}{{mountpoint="/"}} {value}'
        for name, value in [("size_bytes", 9), ("avail_bytes", 8), ("files", 7), ("files_free", 6)]
    )

    async def fetch(asked: str) -> str:
        assert asked == url
        return page

    node = FakeNode(replace(SPEC, disk=DiskSettings(node_exporter=url)), FakeTransport(disk=seen))
    found = await collected(disk.COLLECTOR, node, fetch=fetch)
    assert numbers(found) == ("/var/lib/docker", 9, 8, 7, 6)


async def test_the_look_ahead_learns_from_the_looks_before() -> None:
    interval = SPEC.collect.disk * 10
    node = FakeNode(transport=FakeTransport())
    found: Any = None
    for step in range(5):
        available = 10**9 - step * 10**8
        node.transport.disk = Disk("/var/lib/docker", 10**9, available, 10, 4)
        found = await collected(disk.COLLECTOR, node, previous=found, now=NOW + step * interval)
    assert found.full_at == pytest.approx(NOW + 10 * interval)


async def test_another_path_s_past_is_forgotten() -> None:
    node = FakeNode(transport=FakeTransport(disk=seen))
    before = replace(seen("/elsewhere"), samples=((NOW - 600, 90),))
    found = await collected(disk.COLLECTOR, node, previous=before)
    assert found.samples == ((NOW, 40),)
