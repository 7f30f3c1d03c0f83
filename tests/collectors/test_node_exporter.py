"""The filesystem that counts, on a node_exporter's page."""

from __future__ import annotations

import pytest

from exporter.collectors.node_exporter import disk_from_page
from exporter.errors import NodeError, Reason
from exporter.model import Disk

NAMES = ("size_bytes", "avail_bytes", "files", "files_free")


def page(*mounts: str, value: str = "") -> str:
    """A page whose n-th mount has n000 bytes, n00 of them free, n0 inodes, n of them free."""
    lines = ["# TYPE node_filesystem_size_bytes gauge", "node_load1 0.5"]
    for number, mount in enumerate(mounts, start=1):
        labels = f'device="/dev/vd{number}",fstype="ext4",mountpoint="{mount}"'
        lines += [
            f"node_filesystem_{name}{{{labels}}} {value or number * size}"
            for name, size in zip(NAMES, (1000, 100, 10, 1), strict=True)
        ]
        lines.append(f"node_filesystem_readonly{{{labels}}} 0")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("mounts", "path", "chosen"),
    [
        (("/",), "/var/lib/docker", 1),
        (("/", "/var"), "/var/lib/docker", 2),
        (("/var", "/"), "/var/lib/docker", 1),
        (("/", "/var/lib/docker", "/var"), "/var/lib/docker", 2),
        (("/", "/var/lib/docker/volumes"), "/var/lib/docker", 1),
        (("/", "/var/lib/dock"), "/var/lib/docker", 1),
        (("/", "/srv"), "/var/lib/docker/", 1),
    ],
    ids=["the root", "deeper", "any order", "itself", "below does not count", "no prefix", "slash"],
)
def test_the_deepest_mount_above_the_path(mounts: tuple[str, ...], path: str, chosen: int) -> None:
    assert disk_from_page(page(*mounts), path) == Disk(
        path, chosen * 1000, chosen * 100, chosen * 10, chosen
    )


def test_numbers_in_scientific_notation() -> None:
    assert disk_from_page(page("/", value="1.5e+10"), "/data").size == 15_000_000_000


def test_an_incomplete_filesystem_is_passed_over() -> None:
    text = page("/") + 'node_filesystem_size_bytes{mountpoint="/var"} 5\n'
    assert disk_from_page(text, "/var/lib/docker").size == 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (page("/srv"), "reports no filesystem for /var/lib/docker"),
        ("<html>login</html>", "reports no filesystem"),
        ('node_filesystem_size_bytes{mountpoint="/" 5\n', "can't be parsed"),
        (page("/", value="NaN"), "can't be parsed"),
    ],
    ids=["other mounts", "no metrics", "broken", "not a number"],
)
def test_a_page_that_does_not_help(text: str, said: str) -> None:
    with pytest.raises(NodeError, match=said) as caught:
        disk_from_page(text, "/var/lib/docker")
    assert caught.value.reason is Reason.PROTOCOL
