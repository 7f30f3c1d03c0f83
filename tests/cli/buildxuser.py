"""A user with a configuration, a buildx store, and a script in docker's place."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.command import Done, command

# Notes what it is asked for; says and does what files beside it tell.
DOCKER = """#!/bin/sh
cd {folder}
case "$*" in
    "buildx version") test -e no-buildx && exit 1; echo docker/buildx v0.36.1 1d2e; exit;;
    *" version --format="*) echo "$*" >>asked; grep -q -e "$2" down 2>/dev/null || exit 0
        echo "error during connect: stderr=ssh: noise\nssh: connect to host: No route" >&2; exit 1;;
    *" container ls "*) grep -q -e "$2" down 2>/dev/null && exit 1
        sed -n "s#^$2 #buildx_buildkit_#p" there 2>/dev/null; exit 0;;
esac
echo "docker $*" >>done
grep -q -e "^$3 $4" fails 2>/dev/null && {{ echo "ERROR: not today" >&2; exit 1; }}
case "$*" in
    "buildx inspect --bootstrap "*) echo "#1 booting" >&2; cat inspected;;
esac
"""

NODES = """
nodes:
- {name: a, endpoint: "ssh://me@a", platforms: [linux/amd64]}
- {name: b, endpoint: "ssh://me@b:2222", platforms: [linux/amd64, linux/arm64], builders: [farm1]}
"""
CREATE_A = (
    "docker buildx create --name farm --driver docker-container --node a --platform=linux/amd64 "
    "ssh://me@a"
)
CREATE_B = (
    "docker buildx create --name farm --append --node farm1 --platform=linux/arm64 ssh://me@b:2222"
)
BOOT = "docker buildx inspect --bootstrap farm"
RUNNING = """Name:   farm
Driver: docker-container

Nodes:
Name:     a
Endpoint: ssh://me@a
Status:   running
Labels:
 Status: none

Name:     farm1
Endpoint: ssh://me@b
Status:   running
"""


@dataclass
class User:
    """A user with a configuration, a buildx store and a docker of sorts."""

    folder: Path

    async def run(
        self,
        *arguments: str,
        config: str | None = NODES,
        columns: str | None = None,
        **env: str,
    ) -> Done:
        """Run ``buildfarm-exporter builder``."""
        if config is not None:
            (self.folder / "farm.yml").write_text(config)
            env["BUILDFARM_EXPORTER_CONFIG"] = str(self.folder / "farm.yml")
        own = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DOCKER_CONFIG": str(self.folder),
            "BUILDX_CONFIG": str(self.folder / "buildx"),
            "XDG_STATE_HOME": str(self.folder),
        }
        return await command("builder", *arguments, columns=columns, **(own | env))

    def tell(self, name: str, text: str) -> None:
        """Tell docker something."""
        (self.folder / name).write_text(text)

    def store(self, name: str, *nodes: tuple[str, str, list[str]], **more: Any) -> None:
        """Put a builder into the buildx store."""
        platforms = {p: dict(zip(("os", "architecture"), p.split("/"), strict=True)) for p in PS}
        entries = [
            {"Name": node, "Endpoint": endpoint, "Platforms": [platforms[p] for p in theirs]}
            for node, endpoint, theirs in nodes
        ]
        group = {"Name": name, "Driver": "docker-container", "Nodes": entries, **more}
        path = self.folder / "buildx" / "instances" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(group))

    def asked(self, name: str = "done") -> list[str]:
        """What docker was asked for: to do, or whether it gets to nodes."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


PS = ("linux/amd64", "linux/arm64")
A = ("a", "ssh://me@a", ["linux/amd64"])
B = ("farm1", "ssh://me@b:2222", ["linux/arm64"])
