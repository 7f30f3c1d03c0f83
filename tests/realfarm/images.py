"""The images of the farm's registry: busybox, and BuildKit as buildx boots it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.realfarm.oci import Image, write_layout
from tests.realfarm.recipes import Log, Recipe
from tests.realfarm.shell import FarmError, run

_APPLETS = """
    sh cat chmod cp cut date dd df du echo env false find grep head hostname id ip kill ln ls
    mkdir mv ps pwd rm sed seq sha256sum sleep sort stat sync tail tar test touch tr true uname
    wc wget xargs yes
"""


def images_recipe(debs: Path, tools: Path, root: Path) -> Recipe:
    """OCI layouts ``busybox`` and ``buildkit``, the latter with runc of the root ``root``."""

    def make(half: Path, log: Log) -> None:
        del log
        write_layout(
            half / "busybox",
            [_busybox(arch, debs / f"busybox-{arch}") for arch in ("amd64", "arm64")],
        )
        write_layout(half / "buildkit", [_buildkit(debs, tools, root)])

    names = (debs.name, tools.name, root.name)
    return Recipe("images", (*names, _APPLETS), make)


def _busybox(arch: str, program: Path) -> Image:
    return Image(
        architecture=arch,
        files={"bin/busybox": program, "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n"},
        links={f"bin/{applet}": "busybox" for applet in _APPLETS.split()},
        folders=("tmp",),
        command=("sh",),
    )


def _buildkit(debs: Path, tools: Path, root: Path) -> Image:
    shell = _busybox("amd64", debs / "busybox-amd64")
    files = {
        **shell.files,
        "usr/bin/buildkitd": tools / "buildkitd",
        "usr/bin/buildctl": tools / "buildctl",
        "usr/bin/runc": root / "usr/sbin/runc",
        "etc/ssl/certs/ca-certificates.crt": root / "etc/ssl/certs/ca-certificates.crt",
        **_libraries(root, "/usr/sbin/runc"),
    }
    return Image("amd64", files, shell.links, ("tmp", "run"), entrypoint=("buildkitd",))


def _libraries(root: Path, program: str) -> dict[str, Path]:
    """The shared libraries of a program of ``root``, where it looks for them."""
    listing = run(["chroot", root, "/usr/bin/ldd", program]).stdout
    found = re.findall(r"(/\S+) \(0x", listing)
    if not found:
        raise FarmError(f"{root}{program}: no libraries in what ldd says:\n{listing}")
    return {name.removeprefix("/"): root / name.removeprefix("/") for name in found}
