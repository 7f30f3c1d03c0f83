"""The buildx builder of a canary over the whole farm, copied out of the user's store.

What is done to the copy leaves the user's builder, and what buildx notes of builds, as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.platforms import normalise_platform

_OWN = "buildfarm-canary"


class BuildxError(Exception):
    """What buildx has or says can't be used. The text is for people."""


@dataclass(frozen=True, slots=True)
class StoredBuilder:
    """A builder, as the file in buildx's store has it."""

    name: str
    nodes: tuple[Mapping[str, Any], ...]
    rest: Mapping[str, Any]

    @property
    def claimed(self) -> dict[str, tuple[str, ...]]:
        """By node, the platforms that are claimed for it: buildx builds them there, and only there.

        Each is claimed for one node: of several that are made for it, buildx knows the last.
        """
        return {node["Name"]: _platforms(node.get("Platforms")) for node in self.nodes}

    def built_on(self, places: Mapping[str, str]) -> StoredBuilder:
        """The same, where each of these platforms is claimed for the node given, and no more is."""
        nodes = []
        for node in self.nodes:
            claimed = [platform for platform, name in places.items() if name == node["Name"]]
            nodes.append({**node, "Platforms": [_parts(platform) for platform in claimed]})
        return StoredBuilder(self.name, tuple(nodes), self.rest)

    def only(self, name: str) -> StoredBuilder:
        """The same with this node alone."""
        nodes = tuple(node for node in self.nodes if node["Name"] == name)
        return StoredBuilder(self.name, nodes, self.rest)

    def store_in(self, folder: Path) -> dict[str, str]:
        """Make a store with this builder alone; the environment in which buildx uses it."""
        file = folder / "instances" / self.name.lower()
        for directory in (folder, file.parent):
            directory.mkdir(mode=0o700)
        file.touch(mode=0o600)
        file.write_text(json.dumps({**self.rest, "Name": self.name, "Nodes": self.nodes}))
        # By this name nodes know whose files they keep; a new one each time would be new files.
        (folder / ".buildNodeID").write_text(_OWN)
        return {"BUILDX_CONFIG": str(folder)}

    def builds_in(self, folder: Path) -> dict[str, str]:
        """By node, the reference of the build that it took part in, from this store."""
        found = (folder / "refs" / self.name).glob("*/*")
        return {path.parent.name: path.name for path in sorted(found)}


def read_builder(folder: Path, name: str) -> StoredBuilder:
    """Read a builder from buildx's store, in this folder.

    :raises BuildxError: when it is not there, or not to be read.
    """
    try:
        group = json.loads((folder / name.lower()).read_text(encoding="utf-8"))
        builder = StoredBuilder(group["Name"], tuple(group["Nodes"]), group)
        if not all(builder.claimed):
            raise ValueError("a node has no name")
    except FileNotFoundError as error:
        raise BuildxError(
            f"there is no buildx builder '{name}' in {folder}: make it (buildfarm-exporter builder "
            "create), or name another one in canary.multiarch.builder"
        ) from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BuildxError(f"the buildx builder '{name}' can't be read: {why}") from error
    if not builder.nodes:
        raise BuildxError(f"the buildx builder '{name}' has no nodes")
    return builder


def _platforms(entries: Any) -> tuple[str, ...]:
    return tuple(
        # Stores of old buildx have text here.
        normalise_platform(entry if isinstance(entry, str) else join_platform(entry))
        for entry in entries or ()
    )


def join_platform(parts: Mapping[str, Any]) -> str:
    """Write a platform as text that the OCI's JSON has in parts."""
    names = (parts.get(key) for key in ("os", "architecture", "variant"))
    return normalise_platform("/".join(str(name) for name in names if name))


def _parts(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
