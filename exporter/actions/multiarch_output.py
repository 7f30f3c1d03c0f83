"""What ``docker buildx`` prints, read for a canary over the whole farm."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.actions.multiarch_builder import BuildxError, join_platform
from exporter.buildkit.platforms import is_native
from exporter.platforms import includes, normalise_platform

# Without a platform where only one is built.
_STEP = re.compile(r"\[(?:(\S+) )?\d+/\d+\] RUN ")
_INSPECTED = re.compile(r"^(Name|Error|Platforms): *(.*)$", re.MULTILINE)


class Progress:
    """The steps of a build, heard line by line from ``--progress rawjson``."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._steps: dict[str, tuple[str, bool]] = {}
        self._running: dict[str, str] = {}
        self.unread: str | None = None
        """Why the shared cache could not be read."""

    def hear(self, line: str) -> None:
        """Take the next line of stderr. Old buildx spreads a value over several."""
        if line.startswith("{"):
            self._lines = []
        self._lines.append(line)
        if not line.endswith("}") or (line != "}" and not line.startswith("{")):
            return
        try:
            vertices = json.loads("".join(self._lines)).get("vertexes") or ()
        except ValueError:
            return  # not of the progress: a warning, a part of an error
        for vertex in vertices:
            self._note(vertex["digest"], vertex.get("name", ""), vertex)

    def _note(self, digest: str, name: str, vertex: Mapping[str, Any]) -> None:
        if vertex.get("started") and not vertex.get("completed"):
            self._running[digest] = name
        else:
            self._running.pop(digest, None)
        if step := _STEP.match(name):
            _, cached = self._steps.get(digest, ("", False))
            self._steps[digest] = (step[1] or "", cached or bool(vertex.get("cached")))
        elif name.startswith("importing cache manifest") and vertex.get("error"):
            self.unread = vertex["error"]

    @property
    def running(self) -> list[str]:
        """What is being done, in BuildKit's words."""
        return sorted(set(self._running.values()))

    def cached(self, platforms: Collection[str]) -> dict[str, list[bool]]:
        """By platform, whether each of its steps came from a cache."""
        found: dict[str, list[bool]] = {platform: [] for platform in platforms}
        for platform, cached in self._steps.values():
            for one in [normalise_platform(platform)] if platform else platforms:
                found.setdefault(one, []).append(cached)
        return found


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a builder, as ``docker buildx inspect`` finds it."""

    error: str | None
    """Why it does not answer."""
    platforms: tuple[str, ...]
    """What it builds, its own platform first, where none was claimed for it."""

    def replaces(self, other: Node, platform: str) -> bool:
        """Tell whether it builds the platform, and does not emulate what the other one runs."""
        builds = any(includes(offered, platform) for offered in self.platforms)
        return builds and (self._runs(platform) or not other._runs(platform))

    def _runs(self, platform: str) -> bool:
        own = self.platforms[:1]
        return any(is_native(platform, name.split("/")[1]) for name in own)


def read_nodes(inspected: str) -> dict[str, Node]:
    """Read what ``docker buildx inspect`` says of each node, by its name."""
    nodes: dict[str, Node] = {}
    name = ""
    for key, value in _INSPECTED.findall(inspected.partition("\nNodes:\n")[2]):
        if key == "Name":
            name = value.strip()
            nodes[name] = Node(None, ())
        elif key == "Error":
            # Around what ssh says, docker puts much that is no help.
            said = value.rpartition("stderr=")[2].strip()
            nodes[name] = Node(said or "it does not say why", ())
        else:
            names = [part.strip().rstrip("*") for part in value.split(",")]
            platforms = tuple(normalise_platform(part) for part in names if part)
            nodes[name] = Node(nodes[name].error, platforms)
    return nodes


def read_built(history: str) -> tuple[str, ...]:
    """Read from ``docker buildx history inspect --format json`` which platforms a node built.

    :raises BuildxError: when it does not say so.
    """
    try:
        return tuple(normalise_platform(name) for name in json.loads(history)["Platform"])
    except (KeyError, TypeError, ValueError) as error:
        raise BuildxError("docker buildx history does not tell the platforms") from error


def read_images(inspected: str, id: str) -> dict[str, bool]:  # noqa: A002
    """Read ``docker buildx imagetools inspect --format '{{json .Image}}'``.

    By platform, whether the image there is of the build with this ID: it is a build argument, and
    so in the image's history.

    :raises BuildxError: when it is not to be read.
    """
    try:
        images = json.loads(inspected)
        # One platform alone needs no index.
        images = [images] if "architecture" in images else list(images.values())
        return {join_platform(image): _has(image, id) for image in images}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BuildxError("docker buildx imagetools does not tell the images' platforms") from error


def _has(image: dict[str, Any], id: str) -> bool:  # noqa: A002
    return any(id in entry.get("created_by", "") for entry in image.get("history") or ())
