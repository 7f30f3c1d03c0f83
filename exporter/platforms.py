"""Platforms in the spelling that BuildKit reports, as containerd normalises them."""

from __future__ import annotations

import re

_SYSTEMS = frozenset(
    """
    aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9
    solaris wasip1 windows zos
    """.split()  # noqa: SIM905 - easier to compare with Go's lists
)
_ARCHITECTURES = frozenset(
    """
    386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le
    mips64p32 mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm
    """.split()  # noqa: SIM905
)
_OTHER_NAMES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)


def normalise_platform(text: str) -> str:
    """``linux/arm64/v8`` → ``linux/arm64``, ``arm`` → ``linux/arm/v7``.

    An architecture alone is taken for one of Linux, whatever this machine runs.

    Raises:
        ValueError: if it names no operating system and architecture that can be built for.
    """
    parts = text.strip().split("/")
    if len(parts) == 1 and parts[0].lower() not in _SYSTEMS:
        parts = ["linux", *parts]
    if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"'{text}' is not a platform; write linux/amd64 or linux/arm64")
    system = {"macos": "darwin"}.get(parts[0].lower(), parts[0].lower())
    architecture, variant = _architecture(parts[1].lower(), (*parts, "")[2].lower())
    if system not in _SYSTEMS or architecture not in _ARCHITECTURES:
        raise ValueError(f"'{text}' is not a platform; write linux/amd64 or linux/arm64")
    return "/".join(part for part in (system, architecture, variant) if part)


def _architecture(architecture: str, variant: str) -> tuple[str, str]:
    if architecture in _OTHER_NAMES:
        architecture, implied = _OTHER_NAMES[architecture]
        variant = variant if implied is None else implied
    match architecture, variant:
        case ("amd64", "v1") | ("arm64", "v8" | "8"):
            return architecture, ""
        case "arm", "":
            return architecture, "v7"
        case "arm", "5" | "6" | "7" | "8":
            return architecture, f"v{variant}"
    return architecture, variant


def includes(offered: str, wanted: str) -> bool:
    """Tell whether who builds the one builds the other: the same, or a lesser variant of it."""
    if offered == wanted:
        return True
    (kind, level), (wanted_kind, wanted_level) = _level(offered), _level(wanted)
    return kind == wanted_kind and 0 < wanted_level <= level


def _level(platform: str) -> tuple[str, int]:
    """Split a platform whose variants include each other: ``linux/arm``, 7. Others are level 0."""
    system, architecture, variant = (*platform.split("/"), "")[:3]
    number = variant.removeprefix("v") or ("1" if architecture == "amd64" else "")
    counts = architecture in ("amd64", "arm") and number.isdecimal()
    return f"{system}/{architecture}", int(number) if counts else 0
