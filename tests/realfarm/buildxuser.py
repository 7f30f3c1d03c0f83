"""A user with a buildx store and Docker contexts of their own, who makes builders on the farm."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from exporter.actions.builder_nodes import CONTEXT_PREFIX
from exporter.buildkit.builders import CONTAINER_PREFIX
from tests.realfarm.daemon import COMMAND
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.shell import run

NAMES = ("new", "tls", "local")
"""Nodes for builders with containers."""

Done = subprocess.CompletedProcess[str]


class BuildxUser:
    """Runs ``buildfarm-exporter builder`` and the real ``docker buildx`` on one store."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self.farm = farm
        self.folder = folder
        docker = folder / "docker"
        shutil.copytree(
            farm.client.home / ".docker", docker, symlinks=True, ignore=lambda *_: ["buildx"]
        )
        self.env = farm.client.env | {
            "DOCKER_CONFIG": str(docker),
            "BUILDX_CONFIG": str(folder / "buildx"),
            "XDG_STATE_HOME": str(folder),
            "COLUMNS": "200",
        }
        self._before = {name: _traces(farm[name]) for name in NAMES}

    @property
    def options(self) -> tuple[str, ...]:
        """What BuildKits on the farm need: a group of the farm's, and a mirror of the hub's."""
        group = self.farm.slot.name("new")
        config = self.farm.client.home / "farm.toml"
        return (f"--driver-opt=cgroup-parent=/{group}", f"--buildkitd-config={config}")

    def configure(self, *nodes: dict[str, Any] | str, **platforms: list[str]) -> None:
        """Write the exporter's configuration: entries, or nodes of the farm by name."""
        entries = [node if isinstance(node, dict) else self.farm[node].config() for node in nodes]
        for entry in entries:
            if entry["name"] in platforms:
                entry["platforms"] = platforms[entry["name"]]
        config = self.farm.config(*NAMES) | {"nodes": entries}
        (self.folder / "exporter.yml").write_text(yaml.safe_dump(config))

    def builder(self, *arguments: str) -> Done:
        """Run ``buildfarm-exporter builder``, whether it works or not."""
        config = f"--config={self.folder / 'exporter.yml'}"
        argv = [str(COMMAND), "builder", *arguments, config]
        return run(argv, env=self.env, cwd=self.folder, check=False, timeout=240)

    def create(self, *arguments: str, name: str = "ours") -> Done:
        """Run ``builder create`` as the farm needs it; it must work."""
        done = self.builder("create", "--name", name, *self.options, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def docker(self, *arguments: str, **env: str) -> str:
        """Run the real docker; what it prints."""
        argv = [shutil.which("docker", path=self.env["PATH"]) or "docker", *arguments]
        return run(argv, env=self.env | env, cwd=self.folder, timeout=240).stdout

    def inspect(self, name: str, **env: str) -> str:
        """What ``docker buildx inspect`` says of what was made, not when."""
        said = self.docker("buildx", "inspect", "--bootstrap", name, **env)
        return re.sub(r"^(Name|Last Activity): .*\n", "", said, count=2, flags=re.MULTILINE)

    def build(self, builder: str, platform: str = "linux/amd64") -> str:
        """Build something new through a builder; the mark by which its record is known."""
        mark = f"mark-{len(list(self.folder.glob('mark-*')))}"
        (self.folder / mark).mkdir()
        (self.folder / mark / "Dockerfile").write_text(f"FROM busybox\nRUN echo {mark} >/mark\n")
        argv = ["buildx", "build", "--builder", builder, "--platform", platform]
        self.docker(*argv, "--output=type=cacheonly", str(self.folder / mark))
        return mark

    def built_on(self, mark: str, *nodes: str) -> list[str]:
        """Which of these nodes' BuildKits of ours have the build in their caches."""
        return [name for name in nodes if mark in str(self.farm[name].truth.cache(name))]

    def stored(self, name: str) -> bytes | None:
        """A builder's file in the buildx store."""
        path = self.folder / "buildx" / "instances" / name
        return path.read_bytes() if path.exists() else None

    def contexts(self) -> list[str]:
        """The Docker contexts that were made for nodes."""
        names = self.docker("context", "ls", "--format={{.Name}}").split()
        return [name for name in names if name.startswith(CONTEXT_PREFIX)]

    def container(self, name: str) -> str:
        """The ID of the container of our BuildKit on a node."""
        url = f"/containers/{CONTAINER_PREFIX}{name}/json"
        return str(self.farm[name].truth.engine("GET", url)["Id"])

    def left(self) -> dict[str, set[str]]:
        """Containers and volumes on the nodes that were not there at first."""
        now = {name: _traces(self.farm[name]) - self._before[name] for name in NAMES}
        return {name: traces for name, traces in now.items() if traces}

    def clean(self) -> None:
        """Remove all that is left."""
        for name in self.left():
            mine = [f"{CONTAINER_PREFIX}{name}", f"{CONTAINER_PREFIX}{name}_state"]
            self.farm[name].run(["docker", "rm", "--force", mine[0]], check=False)
            self.farm[name].run(["docker", "volume", "rm", "--force", mine[1]], check=False)
        assert self.left() == {}


def _traces(node: Node) -> set[str]:
    return {*node.truth.containers(), *node.truth.volumes()}
