"""A user's buildx, with a builder of several nodes, for canaries: the fake in docker's place."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from exporter.actions.multiarch import run_multiarch
from exporter.canaries import CanaryTrigger, MultiarchRecord
from exporter.dockercli import DockerCli
from exporter.model import MultiarchSettings
from tests.support import fake_buildx

PATIENCE = 30.0
AMD64, ARM64 = "linux/amd64", "linux/arm64"
ALL = [AMD64, "linux/386", ARM64]
PUSH, CACHE = "registry.example.com/canary:latest", "registry.example.com/canary:cache"
SETTINGS = MultiarchSettings("farm", PUSH, CACHE, None, 60.0, "busybox", PATIENCE)


class BuildxFarm:
    """A ``docker`` in whose buildx store is a builder, and what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances = folder / "store/instances"
        self.instances.mkdir(parents=True)
        (folder / "scratch").mkdir()
        shutil.copy(Path(fake_buildx.__file__), folder / "fake.py")
        self.program = folder / "docker"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} -SE {folder}/fake.py "$@"\n')
        self.program.chmod(0o755)
        path = f"{folder}:{os.environ['PATH']}"
        self.docker = DockerCli({"PATH": path, "BUILDX_CONFIG": str(folder / "store")})
        self.knobs: dict[str, Any] = {"offers": {"one": ALL, "two": ALL}, "cached": ALL}
        self.builder(one=[], two=[AMD64, ARM64])

    def builder(self, **claimed: list[str]) -> None:
        """Store a builder of these nodes."""
        nodes = [
            {
                "Name": name,
                "Endpoint": f"ssh://{name}",
                "Platforms": [
                    dict(zip(("os", "architecture"), platform.split("/"), strict=True))
                    for platform in platforms
                ]
                or None,
            }
            for name, platforms in claimed.items()
        ]
        group = {"Name": "farm", "Driver": "docker-container", "Nodes": nodes, "Dynamic": False}
        (self.instances / "farm").write_text(json.dumps(group))

    async def canary(self, *platforms: str, **changes: Any) -> MultiarchRecord:
        """Run one."""
        (self.folder / "knobs.json").write_text(json.dumps(self.knobs))
        return await run_multiarch(
            replace(SETTINGS, **changes),
            trigger=CanaryTrigger.MANUAL,
            now=count(1000.0).__next__,
            docker=self.docker,
            platforms=platforms,
            new_id=lambda: "id-1",
        )

    @property
    def calls(self) -> list[tuple[list[str], str]]:
        """What docker was asked, and the store it was to use."""
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def asked(self, what: str) -> list[list[str]]:
        """The arguments of all ``docker buildx`` of one kind."""
        return [arguments for arguments, _ in self.calls if arguments[1] == what]
