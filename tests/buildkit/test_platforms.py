"""Names of platforms, and which a CPU runs itself."""

from __future__ import annotations

import pytest

from exporter.buildkit import control_pb2 as pb
from exporter.buildkit.platforms import is_native, platform_name


@pytest.mark.parametrize(
    ("arch", "variant", "name"),
    [
        ("amd64", "", "linux/amd64"),
        ("amd64", "v2", "linux/amd64/v2"),
        ("arm64", "v8", "linux/arm64"),
        ("arm64", "", "linux/arm64"),
        ("arm", "v7", "linux/arm/v7"),
    ],
)
def test_a_platform_is_written_as_buildx_does(arch: str, variant: str, name: str) -> None:
    assert platform_name(pb.Platform(OS="linux", Architecture=arch, Variant=variant)) == name


@pytest.mark.parametrize(
    ("platform", "arch", "native"),
    [
        ("linux/amd64", "amd64", True),
        ("linux/amd64/v3", "amd64", True),
        ("linux/386", "amd64", True),
        ("linux/arm64", "amd64", False),
        ("linux/arm/v7", "arm64", True),
        ("linux/amd64", "arm64", False),
        ("linux/riscv64", "riscv64", True),
        ("linux/amd64", "", False),
    ],
)
def test_a_cpu_runs_its_own_family(platform: str, arch: str, native: bool) -> None:
    assert is_native(platform, arch) is native
