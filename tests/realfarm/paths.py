"""Where the farm keeps what is made once (the cache) and what lives as long as a farm (slots)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

RUNTIME = Path("/run/bfx")
"""Locks, sockets and mount points of farms that are up; short, for a socket's path is limited."""


CACHE = Path(
    os.environ.get("BUILDFARM_TEST_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "buildfarm-exporter/farm"
)
"""The directory of everything that is made once. A constant, for tests get homes of their own."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """What ``prepare`` has made."""

    roots: dict[str, Path]
    """Root file systems by Debian suite: bookworm is Engine 20.10, trixie 26.1."""
    tools: Path
    """buildkitd, buildctl and buildx, static."""
    debs: Path
    """busybox-amd64, busybox-arm64 and qemu-aarch64-static, static."""
    images: Path
    """OCI layouts: busybox (amd64 and arm64) and buildkit (amd64)."""
