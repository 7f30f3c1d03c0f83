"""A disk as a node_exporter on the node reports it."""

from __future__ import annotations

from pathlib import PurePosixPath

from prometheus_client.parser import text_string_to_metric_families

from exporter.errors import Layer, NodeError, Reason
from exporter.model import Disk

_NAMES = {
    "node_filesystem_size_bytes": "size",
    "node_filesystem_avail_bytes": "available",
    "node_filesystem_files": "inodes",
    "node_filesystem_files_free": "inodes_free",
}


def disk_from_page(page: str, path: str) -> Disk:
    """Pick the filesystem that holds ``path`` out of a node_exporter's metrics page.

    :raises NodeError: when the page has no such filesystem, or is none.
    """
    # Only these lines: a whole page has thousands, and the parser is slow.
    lines = [line for line in page.splitlines() if line.startswith(tuple(_NAMES))]
    mounts: dict[str, dict[str, int]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name in _NAMES:
                    numbers = mounts.setdefault(sample.labels.get("mountpoint", ""), {})
                    numbers[_NAMES[sample.name]] = int(sample.value)
    except ValueError as error:
        raise NodeError(
            Layer.TRANSPORT, Reason.PROTOCOL, "the node_exporter's page can't be parsed"
        ) from error
    wanted = PurePosixPath(path)
    holding = [
        mount
        for mount, numbers in mounts.items()
        if wanted.is_relative_to(mount or "-") and len(numbers) == len(_NAMES)
    ]
    if not holding:
        raise NodeError(
            Layer.TRANSPORT, Reason.PROTOCOL, f"the node_exporter reports no filesystem for {path}"
        )
    numbers = mounts[max(holding, key=len)]
    return Disk(
        path=path,
        size=numbers["size"],
        available=numbers["available"],
        inodes=numbers["inodes"],
        inodes_free=numbers["inodes_free"],
    )
