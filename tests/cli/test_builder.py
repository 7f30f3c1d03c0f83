"""``builder create`` with a script in docker's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.buildxuser import BOOT, CREATE_A, CREATE_B, NODES, RUNNING, A, B, User


async def test_create(user: User) -> None:
    """Every node is asked, then the builder made and booted."""
    done = await user.run("create", "--use")
    assert done.code == 0, done.err
    ways = ["--host ssh://me@a", "--host ssh://me@b:2222"]
    asked = [f"{way} version --format={{{{.Server.Version}}}}" for way in ways]
    assert sorted(user.asked("asked")) == asked
    assert user.asked() == [CREATE_A, CREATE_B, "docker buildx use farm", BOOT]
    assert done.lines == [
        "farm  docker-container",
        "  created  a: a at ssh://me@a, first for linux/amd64",
        "  created  b: farm1 at ssh://me@b:2222, first for linux/arm64",
        "All 2 nodes run. docker buildx build --builder farm builds with it.",
    ]
    assert done.err == "#1 booting\n"


async def test_dry_run(user: User) -> None:
    """The exact commands, and nothing else, on stdout; nothing is done."""
    done = await user.run("create", "--dry-run", "--each", "--driver-opt", "env.X=a, b")
    option = "'--driver-opt=\"env.X=a, b\"'"
    single = "docker buildx create --name farm-{} --driver docker-container --node"
    assert done.lines == [
        CREATE_A.replace(" ssh:", f" {option} ssh:"),
        CREATE_B.replace(" ssh:", f" {option} ssh:"),
        f"{single.format('a')} a --platform=linux/amd64 {option} ssh://me@a",
        f"{single.format('b')} farm1 --platform=linux/amd64,linux/arm64 {option} ssh://me@b:2222",
    ]
    assert (done.code, done.err) == (0, "")
    assert user.asked() == user.asked("asked") == []


HAS_FARM0 = "note: a: farm0 is there already, with a cache of its own; to use it instead write "


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("ssh://me@a farm0\n", HAS_FARM0 + "builders: [farm0] for this node"),
        (
            "ssh://me@a farm0\nssh://me@a old\n",
            HAS_FARM0.replace("farm0 is", "farm0, old are")
            .replace("with", "each with")
            .replace("use it", "use one")
            + "builders: [farm0] or builders: [old] for this node",
        ),
        ("ssh://me@a farm0\nssh://me@a a\nssh://me@b:2222 farm0\nssh://me@b:2222 farm1\n", ""),
        ("ssh://me@a farm1\nssh://me@a docker\nssh://me@a Farm0\n", ""),
    ],
    ids=["one", "two", "none new is made", "none that 'builders' can select"],
)
async def test_a_new_buildkit_beside_another(user: User, there: str, told: str) -> None:
    """Is no error; the one that could be used instead is told of, also when all is done."""
    user.tell("there", there)
    dry = await user.run("create", "--dry-run")
    assert (dry.code, dry.err) == (0, f"{told}\n" if told else "")
    done = await user.run("create")
    after = f"{told}, then builder rm (caches stay) and builder create\n" if told else ""
    assert (done.code, done.err) == (0, f"{after}#1 booting\n")


async def test_a_node_that_can_not_be_looked_at(user: User) -> None:
    """Gives no note; the others do."""
    user.tell("there", "ssh://me@a farm0\nssh://me@b:2222 farm0\n")
    user.tell("down", "ssh://me@b:2222")
    done = await user.run("create", "--dry-run")
    assert (done.code, done.err) == (0, f"{HAS_FARM0}builders: [farm0] for this node\n")


async def test_a_bare_buildkitd_has_no_others(user: User) -> None:
    """What docker would say there is of something else, so it is not asked."""
    user.tell("there", "tcp://kit:1234 farm0\n")
    done = await user.run("create", "--dry-run", config=f"nodes:\n{KIT}")
    assert (done.code, done.err) == (0, "")


async def test_nothing_to_change(user: User) -> None:
    """Is said; no node is asked, and the builder booted all the same."""
    user.store("farm", A, B)
    done = await user.run("create")
    assert done.code == 0
    assert "Nothing to change." in done.lines
    assert (user.asked(), user.asked("asked")) == ([BOOT], [])


async def test_only_the_named_nodes(user: User) -> None:
    """Others are left out, and left alone where they are in the builder."""
    user.store("farm", A)
    done = await user.run("create", "b", "--name", "farm")
    assert done.code == 0
    assert user.asked() == [CREATE_B, BOOT]


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ([A], "name the other NODEs to do without it"),
        ([A, ("farm1", "ssh://me@b:2222", [])], "docker buildx create --name farm --leave --node"),
    ],
    ids=["new", "known"],
)
async def test_a_node_that_docker_does_not_reach(
    user: User, there: list[tuple[str, str, list[str]]], instead: str
) -> None:
    """Then nothing is changed; what the way out is depends on whether the builder has it."""
    user.store("farm", *there)
    user.tell("down", "ssh://me@b:2222")
    user.tell("known_hosts", "")
    config = f"{NODES}ssh: {{known_hosts: [{user.folder}/known_hosts]}}\n"
    done = await user.run("create", config=config)
    assert done.code == 1
    reason, hint, way_out, end = done.err.splitlines()
    assert reason == "b: docker can't reach it: ssh: connect to host: No route"
    assert hint.startswith(
        "  docker goes by the user's own ~/.ssh/config, not by the 'ssh' section"
    )
    assert way_out.startswith("  buildx changes no builder with a node that is down; ")
    assert instead in way_out
    assert end == "Nothing was changed."
    assert user.asked() == []


async def test_without_nodes_that_are_not_reached(user: User) -> None:
    """Where that is asked for: the others make the builder, and their platforms are theirs."""
    user.tell("down", "ssh://me@a")
    done = await user.run("create", "--skip-unreachable", "--each")
    assert done.code == 0, done.err
    assert done.err.startswith("note: a is left out: docker can't reach it: ssh: connect to host:")
    head = "docker buildx create --name {} --driver docker-container --node farm1"
    platforms = "--platform=linux/amd64,linux/arm64 ssh://me@b:2222"
    assert user.asked() == [f"{head.format(n)} {platforms}" for n in ("farm", "farm-b")] + [BOOT]
    user.tell("down", "ssh://me@a\nssh://me@b:2222\n")
    done = await user.run("create", "--skip-unreachable")
    assert (done.code, done.err.splitlines()[-1]) == (1, "none of the nodes can be reached")


async def test_a_node_that_does_not_run(user: User) -> None:
    """Is named; exit code 1."""
    user.tell(
        "inspected", RUNNING.replace("Status:   running\nLabels", "Error:    no room\nLabels")
    )
    done = await user.run("create")
    assert (done.code, done.lines[-1]) == (1, "a: a does not run: no room")
    assert (await user.run("create", "--skip-unreachable")).code == 0
    user.tell("inspected", RUNNING.replace("Status:   running", "Status:   inactive"))
    assert (await user.run("create", "--skip-unreachable")).code == 1


async def test_a_step_that_fails(user: User) -> None:
    """What was done is told, and what was not."""
    user.tell("fails", "--name farm\n")
    done = await user.run("create")
    assert done.code == 1
    assert "docker buildx create: ERROR: not today\nNot done:\n  " + CREATE_A in done.err
    assert user.asked() == [CREATE_A]
    user.store("farm", A)
    again = await user.run("create")
    assert again.err.endswith(
        f"Not done:\n  {CREATE_B}\nRun it again: it goes on from what is there.\n"
    )


async def test_without_docker(user: User, tmp_path: Path) -> None:
    """What is missing is named."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = await user.run("create", PATH=str(empty))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("the docker command line is not installed here")
    user.tell("no-buildx", "")
    done = await user.run("create")
    assert done.err.startswith("docker's plugin buildx is not installed here")


MULTIARCH = "canary: {multiarch: {builder: BUILDER, push: r/i}}\n"


async def test_the_name(user: User) -> None:
    """The only one that the configuration has, else the default."""
    config = NODES + MULTIARCH.replace("BUILDER", "ci")
    done = await user.run("create", "--dry-run", config=config)
    assert "--name ci " in done.out
    user.store("farm", A, B)
    both = f"{config}buildx: {{builders: [farm]}}\n"
    done = await user.run("create", "--dry-run", config=both)
    assert (done.code, done.err) == (2, "which builder? The configuration names ci, farm\n")
    done = await user.run("create", "--dry-run", "--name", "farm", config=both)
    assert (done.code, done.out) == (0, "")


KIT = '- {name: kit, endpoint: "tcp://kit:1234", tls: false, driver: remote}\n'


@pytest.mark.parametrize(
    ("arguments", "config", "told"),
    [
        ((), None, "which nodes? Name a configuration file: --config FILE"),
        ((), "nodes: []\n", "no nodes; name some in the configuration file"),
        (("c",), NODES, "no node is called c; there are: a, b"),
        ((), NODES + KIT, "a buildx builder has one driver: a, b need docker-container, kit"),
        (("--name", "my farm"), NODES, "'my farm' can't be a builder's name"),
        (("--driver-opt", "memory"), NODES, "--driver-opt: 'memory' is not of the form K=V"),
        (("--buildkitd-config", "no.toml"), NODES, "--buildkitd-config: no.toml: No such file"),
        (("--buildkitd-config", "/etc/hostname"), NODES, "/etc/hostname is not TOML"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    user: User, arguments: tuple[str, ...], config: str | None, told: str
) -> None:
    """Before anything is done, with exit code 2."""
    done = await user.run("create", *arguments, config=config)
    assert done.code == 2
    assert told in " ".join(done.err.replace("│", "").split())
    assert user.asked() == []


async def test_a_builder_that_can_not_become_that(user: User) -> None:
    """One of another driver."""
    user.store("farm", A, Driver="remote")
    done = await user.run("create")
    assert done.code == 1
    assert done.err.startswith("builder farm is there with the driver remote, these nodes need")


@pytest.mark.parametrize("arguments", [("create",), ("rm",), ()])
async def test_help_fits_a_terminal(user: User, arguments: tuple[str, ...]) -> None:
    """Of 80 columns."""
    done = await user.run(*arguments, "--help", columns="80")
    assert max(len(line) for line in done.lines) <= 80
    assert "..." not in done.out.replace("[ARGS]...", "").replace("[NODE]...", "")
