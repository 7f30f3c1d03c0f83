"""``builder rm`` with a script in docker's place."""

from __future__ import annotations

import pytest

from tests.cli.buildxuser import A, B, User


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
        (("farm", "--purge"), 2, "--purge would remove the build caches of a, farm1; say --yes"),
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
