"""What is true of a node, told by the tools of its own that an operator would believe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.realfarm import engineapi
from tests.realfarm.namespace import Machine
from tests.realfarm.servers import SOCKET

EMBEDDED, BARE = "docker", "buildkitd"
"""Builder names of the Engine's own BuildKit and of a bare buildkitd."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What ``stat -f`` says. ``available`` is for others than root, ``free`` for root."""

    size_bytes: int
    free_bytes: int
    available_bytes: int
    inodes: int
    inodes_free: int


class Truth:
    """Asks one node's own tools."""

    def __init__(self, machine: Machine, mount: str) -> None:
        self._machine, self._mount = machine, mount

    def cache(self, builder: str) -> list[dict[str, Any]]:
        """The records of one builder's cache, as ``buildctl du`` or ``buildx du`` lists them."""
        machine = self._machine
        if builder == EMBEDDED:
            argv = ["buildx", "--builder", "default", "du", "--format", "json"]
        elif builder == BARE:
            argv = ["buildctl", "du", "--format", "{{json .}}"]
        else:
            inside = ["buildctl", "du", "--format", "{{json .}}"]
            argv = ["docker", "exec", f"buildx_buildkit_{builder}", *inside]
        return _records(machine.run(argv).stdout)

    def file_system(self) -> FileSystem:
        """The disk's figures now."""
        said = self._machine.run(["stat", "-f", "-c", "%S %b %f %a %c %d", self._mount]).stdout
        block, blocks, free, available, inodes, inodes_free = map(int, said.split())
        return FileSystem(block * blocks, block * free, block * available, inodes, inodes_free)

    def engine(self, method: str, url: str, body: Any = None) -> Any:
        """One request to the Engine API on the node's own socket."""
        return engineapi.ask(self._machine.path(SOCKET), method, url, body)

    def system_df(self) -> dict[str, Any]:
        """``docker system df -v`` as the Engine has it."""
        df: dict[str, Any] = self.engine("GET", "/system/df")
        return df

    def version(self) -> str:
        """The Engine's version, or the bare buildkitd's."""
        if self._machine.path(SOCKET).exists():
            return str(self.engine("GET", "/version")["Version"])
        return self._machine.run(["buildkitd", "--version"]).stdout.split()[2]

    def containers(self) -> dict[str, str]:
        """The state of every container by its name."""
        listing = self.engine("GET", "/containers/json?all=1")
        return {entry["Names"][0].removeprefix("/"): entry["State"] for entry in listing}

    def volumes(self) -> list[str]:
        """The names of all volumes."""
        return [entry["Name"] for entry in self.engine("GET", "/volumes")["Volumes"] or ()]


def _records(text: str) -> list[dict[str, Any]]:
    """JSON values one after another, or one list of them; ``null`` is none."""
    decoder, records, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        records += value if isinstance(value, list) else [value] if value else []
        at += len(text[at:]) - len(text[at:].lstrip())
    return records
