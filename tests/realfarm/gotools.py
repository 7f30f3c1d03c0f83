"""buildkitd, buildctl and buildx, built from their released modules."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.realfarm.recipes import Log, Recipe
from tests.realfarm.shell import FarmError, run

BUILDKIT, BUILDX = "v0.32.2", "v0.36.1"
_MODULES = {
    "github.com/moby/buildkit": (BUILDKIT, ("./cmd/buildkitd", "./cmd/buildctl")),
    "github.com/docker/buildx": (BUILDX, ("./cmd/buildx",)),
}


def tools_recipe() -> Recipe:
    """Static binaries that know their version.

    Each module is built as the main one, where it lies in the module cache: ``go install
    module@version`` refuses BuildKit, whose go.mod has an ``exclude``.
    """

    def make(half: Path, log: Log) -> None:
        if not shutil.which("go"):
            raise FarmError("buildkitd and buildx are built from source: install Go, then go on")
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
        for module, (version, commands) in _MODULES.items():
            place = ["go", "mod", "download", "-json", f"{module}@{version}"]
            source = json.loads(run(place, timeout=600, env=env, cwd=half).stdout)["Dir"]
            flags = f"-s -w -X {module}/version.Version={version}"
            log.run(
                ["go", "build", "-trimpath", "-ldflags", flags, "-o", f"{half}/", *commands],
                timeout=3000,
                env=env,
                cwd=Path(source),
            )

    return Recipe("tools", (repr(_MODULES),), make)
