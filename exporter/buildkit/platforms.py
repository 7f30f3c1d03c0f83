"""Names of platforms, and which of them a CPU runs itself."""

from __future__ import annotations

from exporter.buildkit import control_pb2 as pb

# 64-bit CPUs run 32-bit programs of their family. Some arm64 servers (Graviton 3, Ampere Altra
# Max, Apple) lack AArch32 and need QEMU for linux/arm: BuildKit does not tell the two apart.
_FAMILIES = {
    "amd64": ("amd64", "386"),
    "arm64": ("arm64", "arm"),
    "ppc64le": ("ppc64le",),
}


def platform_name(platform: pb.Platform) -> str:
    """Write a platform as buildx does: ``linux/arm/v7``."""
    name = f"{platform.OS}/{platform.Architecture}"
    # containerd's normal form: v8 is what every arm64 is.
    if platform.Variant and (platform.Architecture, platform.Variant) != ("arm64", "v8"):
        name += f"/{platform.Variant}"
    return name


def is_native(platform: str, arch: str) -> bool:
    """Tell whether a CPU of this architecture (in Go's words) runs the platform itself."""
    return platform.split("/")[1] in _FAMILIES.get(arch, (arch,))
