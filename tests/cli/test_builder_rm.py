"""``builder rm`` with a script in docker's place."""

from __future__ import annotations

import time
from random import Random

import pytest

from exporter.demo.blueprints import Blueprint
from exporter.demo.node import SimulatedNode
from tests.cli.buildxuser import A, B, User
from tests.cli.command import config_for

VOLUME = "buildx_buildkit_n1_state"
LISTED = """--purge removes these volumes, and the build caches in them:
  buildx_buildkit_a_state at ssh://me@a
  buildx_buildkit_farm1_state at ssh://me@b:2222
"""


async def test_rm_with_a_node_that_is_down(user: User) -> None:
    """It is named, and kept; exit code 1."""
    user.store("farm", ("a", f"unix://{user.folder}/none.sock", []))
    config = f"nodes: [{{name: a, endpoint: 'unix://{user.folder}/none.sock'}}]\n"
    done = await user.run("rm", config=config)
    assert done.code == 1
    assert done.out.startswith("a  not removed: engine: engine: the socket ")
    assert done.err == "farm still has a: do it again when they are there.\n"
    assert user.asked() == []


async def test_rm_of_a_builder_over_a_bare_buildkitd(user: User) -> None:
    """Nothing of it is on the node, so that --purge need not ask."""
    user.store("kit", ("kit0", "tcp://kit:1234", []), Driver="remote")
    done = await user.run("rm", "kit", "--purge", config=None)
    assert (done.code, done.out) == (0, "Builder kit is gone.\n")
    assert user.asked() == ["docker buildx rm --keep-daemon --keep-state kit"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "which builder? Name it, or a configuration file: --config FILE"),
        (("frm",), 1, "there is no builder frm; there are: farm, k8s"),
        (("farm", "--purge"), 2, f"{LISTED}Nothing was removed; say --yes as well\n"),
        (("frm", "--purge"), 1, "there is no builder frm; there are: farm, k8s"),
        (("k8s",), 2, "builder k8s has the driver kubernetes; remove it by docker buildx rm k8s"),
    ],
)
async def test_rm_that_makes_no_sense(
    user: User, arguments: tuple[str, ...], code: int, told: str
) -> None:
    """Is refused before anything is done."""
    user.store("farm", A, B)
    user.store("k8s", Driver="kubernetes")
    done = await user.run("rm", *arguments, config=None)
    assert done.code == code
    assert done.err.startswith(told)
    assert user.asked() == []


async def test_purge_looks_for_buildx_before_it_asks(user: User) -> None:
    """Nobody agrees to what then can't be done."""
    user.store("farm", A, B)
    user.tell("no-buildx", "")
    done = await user.run("rm", "farm", "--purge")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("docker's plugin buildx is not installed here")


@pytest.mark.parametrize(
    ("name", "named", "goes"),
    [
        ("farm", (), True),
        ("FARM", (), True),
        ("tset", (), False),
        ("ours", ("ours",), True),
        ("farm", ("ours",), False),
        ("ours", ("ours", "theirs"), False),
    ],
)
async def test_purge_of_a_builder_that_buildx_does_not_know(
    user: User, name: str, named: tuple[str, ...], goes: bool
) -> None:
    """Caches go only by the name of the configuration's own builder; another name touches none."""
    user.store("other", A)
    multiarch = "".join(
        f"canary: {{multiarch: {{builder: {one}, push: r/i}}}}\n" for one in named[:1]
    )
    for one in named[1:]:
        user.store(one, B)
    store = f"buildx: {{builders: [{', '.join(named[1:])}]}}\n" if named[1:] else ""
    blueprint = Blueprint("n1", orphans=((VOLUME, 1 << 30),))
    async with SimulatedNode(blueprint, rng=Random(1), clock=time.time) as node:
        config = config_for(node, path=user.folder / "n1.yml", more=multiarch + store)
        done = await user.run("rm", name, "--purge", "--yes", f"--config={config}", config=None)
        assert (VOLUME in node.machine.volumes) is not goes
    if goes:
        told = f"n1  its container was gone; its cache of 1.0 GiB removed, with the volume {VOLUME}"
        assert (done.code, done.out) == (0, f"{told}\nBuilder {name} is gone.\n"), done.err
    else:
        known = ", ".join(sorted(("other", *named[1:])))
        assert (done.code, done.out) == (1, "")
        assert done.err == f"there is no builder {name}; there are: {known}\n"
