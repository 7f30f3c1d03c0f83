"""The one registry that the farm reaches."""

from __future__ import annotations

HOST = "docker.io"

# Every image in it is as large as busybox, and there for the same platforms.
IMAGE_SIZE = 4_272_128
_PLATFORMS = (
    "linux/386",
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
)


def reference(image: str) -> str:
    """Write an image's name in full, as BuildKit does: ``docker.io/library/busybox:latest``."""
    host, slash, _ = image.partition("/")
    if not slash:
        image = f"{HOST}/library/{image}"
    elif "." not in host and ":" not in host and host != "localhost":
        image = f"{HOST}/{image}"
    tagged = ":" in image.rpartition("/")[2] or "@" in image
    return image if tagged else f"{image}:latest"


def find(image: str, platform: str) -> None:
    """Find an image, named in full.

    :raises ValueError: with BuildKit's message, when it is not there, or not for this platform.
    """
    host = image.partition("/")[0]
    if host != HOST:
        raise ValueError(
            f'{image}: failed to do request: Head "https://{host}/v2/": '
            f"dial tcp: lookup {host}: no such host"
        )
    if platform not in _PLATFORMS:
        raise ValueError(f"{image}: no match for platform in manifest: not found")
