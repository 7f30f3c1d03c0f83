"""``builder rm`` with the real buildx, on real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.realfarm.buildxuser import NAMES, BuildxUser
from tests.realfarm.farm import Farm


@pytest.fixture
def user(farm: Farm, tmp_path: Path) -> Iterator[BuildxUser]:
    """A user with a builder of all nodes and one for each; what is left of them is removed."""
    user = BuildxUser(farm, tmp_path)
    try:
        user.configure(*NAMES)
        user.create("--each")
        yield user
    finally:
        user.clean()


def names(user: BuildxUser) -> list[str]:
    """The builders in the user's store."""
    return sorted(path.name for path in (user.folder / "buildx" / "instances").iterdir())


def test_caches_stay(user: BuildxUser) -> None:
    """They are told of, and there again when the builder is."""
    mark = user.build("ours-local")
    done = user.builder("rm", "ours")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (names(user), user.contexts()) == ([], [])
    assert user.left() == {name: {f"buildx_buildkit_{name}_state"} for name in NAMES}
    for name in NAMES:
        assert f"stays, in the volume buildx_buildkit_{name}_state" in done.stdout
    assert "its cache of" in done.stdout
    user.create()
    assert user.built_on(mark, "local") == ["local"]


def test_purge_leaves_nothing(farm: Farm, user: BuildxUser) -> None:
    """Not even where the container was removed by hand before, and buildx would leave the cache."""
    farm["local"].run(["docker", "rm", "--force", "buildx_buildkit_local"])
    asked = user.builder("rm", "ours", "--purge")
    assert asked.returncode == 2
    assert asked.stderr.endswith("Nothing was removed; say --yes as well\n")
    for name in NAMES:
        assert f"  buildx_buildkit_{name}_state at " in asked.stderr
    assert len(names(user)) == 4
    done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (names(user), user.contexts(), user.left()) == ([], [], {})


def test_purge_after_the_builder_is_gone(farm: Farm, user: BuildxUser) -> None:
    """Caches go that nobody uses, where the configuration names it; not a BuildKit that is back."""
    assert user.builder("rm", "ours").returncode == 0
    user.create("new", name="others")
    entry = {"BUILDX_CONFIG": str(user.folder / "elsewhere")}
    (user.folder / "buildx").rename(user.folder / "elsewhere")
    before = user.left()
    done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 1
    assert done.stderr == "there is no builder ours; there is none at all\n"
    assert user.left() == before
    with (user.folder / "exporter.yml").open("a") as config:
        config.write("canary: {multiarch: {builder: ours, push: registry/canary}}\n")
    done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "new  stays: its container is there, and somebody's" in done.stdout
    assert user.left() == {"new": {"buildx_buildkit_new", "buildx_buildkit_new_state"}}
    assert "running" in user.docker("buildx", "inspect", "others", **entry)
    assert farm["new"].truth.containers()["buildx_buildkit_new"] == "running"


def test_what_another_builder_has_stays(user: BuildxUser) -> None:
    """The BuildKit, its cache and the context; not the builder."""
    user.create("tls", name="another")
    container = user.container("tls")
    done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tls  stays: builder another has it, too" in done.stdout
    assert (names(user), user.contexts()) == (["another"], ["buildfarm-tls"])
    assert user.container("tls") == container
    assert user.left().keys() == {"tls"}
    user.build("another")


def test_a_node_that_is_down_is_done_later(farm: Farm, user: BuildxUser) -> None:
    """The others are done; the builder keeps that node, and goes with it the next time."""
    with farm["new"].sshd.stopped():
        done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 1
    assert "new  not removed: transport: refused: " in done.stdout
    assert done.stderr == "ours still has new: do it again when they are there.\n"
    assert (names(user), user.contexts()) == (["ours", "ours-new"], [])
    assert [node["Name"] for node in json.loads(user.stored("ours") or b"")["Nodes"]] == ["new"]
    assert user.left().keys() == {"new"}
    done = user.builder("rm", "ours", "--purge", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (names(user), user.left()) == ([], {})


def test_a_bare_buildkitd_stays(farm: Farm, user: BuildxUser) -> None:
    """It was not made by buildx."""
    user.configure("kitd")
    assert user.builder("create", "--name", "kit").returncode == 0
    done = user.builder("rm", "kit", "--purge")
    assert (done.returncode, done.stdout) == (0, "Builder kit is gone.\n")
    assert "kit" not in names(user)
    assert farm["kitd"].truth.cache("buildkitd") is not None
