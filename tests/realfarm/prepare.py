"""Make everything that the farm needs, once: ``python -m tests.realfarm.prepare``.

Packages on this machine by apt-get, root file systems by debootstrap, BuildKit and buildx by Go,
images out of these. Takes some minutes the first time, nothing afterwards.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.realfarm.debian import debs_recipe, install_on_host, root_recipe
from tests.realfarm.gotools import tools_recipe
from tests.realfarm.images import images_recipe
from tests.realfarm.paths import CACHE, Artifacts
from tests.realfarm.recipes import Recipe
from tests.realfarm.shell import FarmError


def prepare() -> Artifacts:
    """Make what is missing.

    :raises FarmError: saying what failed, and which file holds all that was said.
    """
    require_possible()
    with _alone():
        install_on_host()
        with ThreadPoolExecutor(2, "prepare") as pool:
            tools = pool.submit(_cook, tools_recipe())
            roots = {
                suite: pool.submit(_cook, root_recipe(suite)) for suite in ("bookworm", "trixie")
            }
            debs = pool.submit(_cook, debs_recipe())
            made = Artifacts(
                roots={suite: root.result() for suite, root in roots.items()},
                tools=tools.result(),
                debs=debs.result(),
                images=Path(),
            )
        images = _cook(images_recipe(made.debs, made.tools, made.roots["trixie"]))
    return Artifacts(made.roots, made.tools, made.debs, images)


def require_possible() -> None:
    """Say why this machine can't have a farm, if it can't.

    :raises FarmError: where it can't.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise FarmError("the real farm needs Linux on x86_64")
    if os.geteuid() != 0:
        raise FarmError("the real farm needs root: it makes namespaces, mounts and loop devices")
    for needed in (Path("/dev/loop-control"), Path("/sys/fs/cgroup")):
        if not needed.exists():
            raise FarmError(
                f"the real farm needs {needed}: run it on a machine, VM or privileged "
                "container that has it"
            )


def _cook(recipe: Recipe) -> Path:
    there, start = recipe.product.exists(), time.monotonic()
    if not there:
        print(f"{recipe.name}: making …", file=sys.stderr, flush=True)
    product = recipe.cook()
    if not there:
        print(
            f"{recipe.name}: made in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True
        )
    return product


@contextmanager
def _alone() -> Iterator[None]:
    """Let one ``prepare`` at a time work in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Run the command; the exit code."""
    try:
        prepare()
    except FarmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"the farm's parts are in {CACHE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
