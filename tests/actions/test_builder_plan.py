"""Plans that make a buildx builder what the configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.actions.builder_merge import Wish, taken_over
from exporter.actions.builder_nodes import UnfitError, buildx_nodes
from exporter.actions.builder_plan import Plan, plan, plan_single, with_files
from exporter.model import BuildxBuilder, BuildxNode, NodeSpec, TcpEndpoint, TlsFiles
from tests.actions.buildx_model import spec, stored

AMD, ARM = "linux/amd64", "linux/arm64"
CREATE = "buildx create --name farm"
FORGET = "buildx rm --keep-daemon --keep-state farm"


def wish(*specs: NodeSpec, in_order: bool = False, **options: str) -> Wish:
    driver, nodes = buildx_nodes(specs, options)
    return Wish("farm", driver, nodes, in_order)


def farm(*nodes: BuildxNode) -> BuildxBuilder:
    return BuildxBuilder("farm", "docker-container", nodes)


def commands(found: Plan) -> list[str]:
    """The commands, without what buildx puts into every entry by itself."""
    flags = "--buildkitd-flags=--allow-insecure-entitlement=network.host "
    return [" ".join(step.arguments).replace(flags, "") for step in found.steps]


def done(found: Plan) -> dict[str, str]:
    return {fate.node.name: fate.done for fate in found.fates}


def test_a_new_builder() -> None:
    """The first node makes it, the others are appended; a platform is claimed for one node."""
    found = plan(
        wish(spec("a", AMD, "linux/386"), spec("b", AMD, ARM), spec("c"), memory="1g"), None
    )
    rest = "--driver-opt=memory=1g ssh://me@"
    assert commands(found) == [
        f"{CREATE} --driver docker-container --node a --platform={AMD},linux/386 {rest}a",
        f"{CREATE} --append --node b --platform={ARM} {rest}b",
        f"{CREATE} --append --node c {rest}c",
    ]
    assert set(done(found).values()) == {"created"}


ROWS: dict[str, tuple[Wish, Sequence[BuildxNode], list[str], dict[str, str]]] = {
    "as wanted": (
        wish(spec("a", AMD), spec("b", ARM)),
        [stored("a", AMD), stored("b", ARM)],
        [],
        {"a": "as it was", "b": "as it was"},
    ),
    "in another order": (
        wish(spec("b", ARM), spec("a", AMD)),
        [stored("a", AMD), stored("b", ARM)],
        [],
        {"a": "as it was", "b": "as it was"},
    ),
    "claimed for another node that is to build it": (
        wish(spec("a", AMD), spec("b", AMD)),
        [stored("a"), stored("b", AMD)],
        [],
        {"a": "as it was", "b": "as it was"},
    ),
    "a node more": (
        wish(spec("b", AMD, ARM), spec("a", AMD)),
        [stored("a", AMD)],
        [f"{CREATE} --append --node b --platform={ARM} ssh://me@b"],
        {"a": "as it was", "b": "added"},
    ),
    "another name for the same machine": (
        wish(spec("a", AMD)),
        [stored("farm0", AMD, at="a")],
        [],
        {"farm0": "as it was"},
    ),
    "the machine has another address": (
        wish(spec("new", AMD, builders=("farm0",))),
        [stored("farm0", AMD, at="old")],
        [f"{CREATE} --node farm0 --platform={AMD} ssh://me@new"],
        {"farm0": "endpoint changed"},
    ),
    "another platform": (
        wish(spec("a", ARM)),
        [stored("a", AMD, options={"memory": "1g"})],
        [f"{CREATE} --node a --platform={ARM} --driver-opt=memory=1g ssh://me@a"],
        {"a": "platforms changed"},
    ),
    "a platform that is to be claimed no more": (
        wish(spec("a", ARM), spec("b", AMD, ARM)),
        [stored("a", AMD, ARM), stored("b")],
        [
            f"{CREATE} --node a --platform={ARM} ssh://me@a",
            f"{CREATE} --node b --platform={AMD} ssh://me@b",
        ],
        {"a": "platforms changed", "b": "platforms changed"},
    ),
    "a node's only platform goes to another": (
        wish(spec("a", ARM), spec("b", AMD)),
        [stored("b", ARM), stored("a", AMD)],
        [
            f"{CREATE} --node b --platform={AMD} ssh://me@b",
            f"{CREATE} --node a --platform={ARM} ssh://me@a",
        ],
        {"b": "platforms changed", "a": "platforms changed"},
    ),
    "nothing is left to claim for a node: buildx can't take back": (
        wish(spec("a", AMD), spec("b", ARM)),
        [stored("a"), stored("b", AMD), stored("c", ARM, at="unknown")],
        [
            FORGET,
            f"{CREATE} --driver docker-container --node a --platform={AMD} ssh://me@a",
            f"{CREATE} --append --node b ssh://me@b",
            f"{CREATE} --append --node c --platform={ARM} ssh://me@unknown",
        ],
        {"a": "platforms changed", "b": "platforms changed", "c": "as it was"},
    ),
    "no platforms expected: those that are claimed stay": (
        wish(spec("a")),
        [stored("a", AMD)],
        [],
        {"a": "as it was"},
    ),
    "a node that the configuration has not": (
        wish(spec("a", AMD)),
        [stored("by-hand", AMD)],
        [f"{CREATE} --append --node a ssh://me@a"],
        {"by-hand": "as it was", "a": "added"},
    ),
    "the best first": (
        wish(spec("b", AMD), spec("a", AMD), in_order=True),
        [stored("a", AMD), stored("by-hand", ARM), stored("b")],
        [
            FORGET,
            f"{CREATE} --driver docker-container --node b --platform={AMD} ssh://me@b",
            f"{CREATE} --append --node a ssh://me@a",
            f"{CREATE} --append --node by-hand --platform={ARM} ssh://me@by-hand",
        ],
        {"b": "platforms changed", "a": "platforms changed", "by-hand": "as it was"},
    ),
    "the best first, and so they are": (
        wish(spec("b", AMD), spec("a", AMD), in_order=True),
        [stored("b", AMD), stored("a"), stored("by-hand", ARM)],
        [],
        {"b": "as it was", "a": "as it was", "by-hand": "as it was"},
    ),
}


@pytest.mark.parametrize(("wanted", "old", "steps", "fates"), ROWS.values(), ids=ROWS)
def test_a_builder_that_is_there(
    wanted: Wish, old: Sequence[BuildxNode], steps: list[str], fates: Mapping[str, str]
) -> None:
    """Only what differs is done."""
    found = plan(wanted, farm(*old))
    assert commands(found) == steps
    assert done(found) == fates


def test_remote_nodes_have_their_files_named() -> None:
    """TLS of a bare buildkitd goes by options of the driver, and those follow the configuration."""
    tls = TlsFiles(Path("/pki/ca.pem"), Path('/pki/my "first", best.pem'), Path("/pki/key"), "kit")
    kit = NodeSpec("kit", TcpEndpoint("kit", 1234, tls), remote=True, builders=("buildkitd",))
    found = plan(wish(kit), None)
    assert found.steps[0].arguments[3:] == (
        *("farm", "--driver", "remote", "--node", "kit", "--driver-opt=cacert=/pki/ca.pem"),
        '--driver-opt="cert=/pki/my ""first"", best.pem"',
        *("--driver-opt=key=/pki/key", "--driver-opt=servername=kit", "tcp://kit:1234"),
    )
    old = replace(found.nodes[0], options={"cacert": "/old/ca.pem"})
    changed = plan(wish(kit), BuildxBuilder("farm", "remote", (old,)))
    assert done(changed) == {"kit": "options changed"}
    assert len(changed.steps) == 1


def test_the_configuration_of_buildkit() -> None:
    """The file is for nodes that are new; what others were made with is told and stays."""
    toml = b"debug = true\n"
    wanted = replace(wish(spec("a", AMD), spec("b", ARM)), config=Path("/my.toml"))
    old = [stored("a", AMD)]
    found = plan(wanted, farm(*old), toml)
    assert commands(found) == [
        f"{CREATE} --append --node b --platform={ARM} --buildkitd-config=/my.toml ssh://me@b"
    ]
    assert found.remarks[0].startswith("a: there already, with other options or another config")
    (_, new, known) = plan(
        replace(wanted, nodes=wanted.nodes[::-1], in_order=True), farm(*old)
    ).steps
    assert "--buildkitd-config=/my.toml" in new.arguments
    assert "--buildkitd-config=/my.toml" not in known.arguments
    same = farm(stored("a", AMD, files={"buildkitd.toml": b"debug=true"}), stored("b", ARM))
    assert plan(wanted, same, toml).remarks[0].startswith("b: there already")


def test_made_again_as_it_was_made(tmp_path: Path) -> None:
    """Flags, options and configuration of a node outlive that its builder is put in order."""
    files = {
        "buildkitd.toml": b"[registry.r]\nca = ['/etc/buildkit/certs/r/ca.pem']\n",
        "certs/r/ca.pem": b"PEM",
    }
    flags, options = ("--debug", "--root=/a b"), {"memory": "1g"}
    old = stored("a", files=files, flags=flags, options=options)
    found = plan(wish(spec("b", AMD), spec("a", AMD), in_order=True), farm(old, stored("b")))
    step = found.steps[-1]
    written: dict[Path, bytes] = {}
    arguments = with_files(step, tmp_path, lambda path, data: written.update({path: data}))
    assert "--buildkitd-flags=--debug '--root=/a b'" in arguments
    assert "--driver-opt=memory=1g" in arguments
    assert arguments[-2:] == (f"--buildkitd-config={tmp_path}/buildkitd.toml", "ssh://me@a")
    assert written == {
        tmp_path / "buildkitd.toml": f"[registry.r]\nca = ['{tmp_path}/certs/r/ca.pem']\n".encode(),
        tmp_path / "certs/r/ca.pem": b"PEM",
    }


def test_a_buildkit_of_another_builder_is_taken_over_as_it_was_made() -> None:
    """With the same options: they count should its container be made anew."""
    theirs = stored(
        "farm0", options={"memory": "1g"}, files={"buildkitd.toml": b"debug=true"}, at="a"
    )
    elsewhere = stored("b", options={"memory": "2g"}, at="not b")
    wanted = taken_over(wish(spec("a", builders=("farm0",)), spec("b")), [theirs, elsewhere])
    one, two = plan(wanted, None).nodes
    assert (one.options, one.files) == (theirs.options, theirs.files)
    assert (two.options, two.files) == ({}, {})


@pytest.mark.parametrize(
    ("wanted", "there", "told"),
    [
        (
            wish(spec("a")),
            BuildxBuilder("farm", "remote", (stored("a"),)),
            "with the driver remote",
        ),
        (
            wish(spec("a", builders=("other0",))),
            farm(stored("farm0", at="a")),
            "a: builder farm has its machine as node farm0, the configuration selects other0",
        ),
        (
            wish(spec("a"), spec("b")),
            farm(stored("b", at="a"), stored("x", at="x")),
            "builder farm has a node b on another machine already",
        ),
    ],
    ids=["driver", "buildkit", "name"],
)
def test_what_can_not_be_made_of_it(wanted: Wish, there: BuildxBuilder, told: str) -> None:
    """Is refused, with what is wrong."""
    with pytest.raises(UnfitError, match=told):
        plan(wanted, there)


def test_a_node_alone() -> None:
    """A builder of its own, unless another one has that name."""
    alone = replace(wish(spec("a", AMD)), name="farm-a")
    assert len(plan_single(alone, None).steps) == 1
    mine = BuildxBuilder("farm-a", "docker-container", (stored("a", AMD),))
    assert not plan_single(alone, mine).steps
    theirs = BuildxBuilder("farm-a", "docker-container", (stored("a", AMD), stored("z")))
    with pytest.raises(UnfitError, match="a builder farm-a is there, and not one of a alone"):
        plan_single(alone, theirs)


def test_platforms_that_nobody_configured_are_told() -> None:
    """Only where there is more than one node to choose from."""
    assert not plan(wish(spec("a")), None).remarks
    (told,) = plan(wish(spec("a"), spec("b", AMD)), None).remarks
    assert told.startswith("no 'platforms' are configured for a:")
