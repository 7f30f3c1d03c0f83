"""``builder create`` with the real buildx, on real nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.realfarm.buildxuser import NAMES, BuildxUser
from tests.realfarm.farm import Farm

AMD, ARM = "linux/amd64", "linux/arm64"


@pytest.fixture
def user(farm: Farm, tmp_path: Path) -> Iterator[BuildxUser]:
    """A user without a builder; what they leave on the nodes is removed."""
    user = BuildxUser(farm, tmp_path)
    try:
        yield user
    finally:
        user.clean()


def test_the_same_as_by_hand(farm: Farm, user: BuildxUser) -> None:
    """Over SSH, TLS and a socket; and what is built with it is built where it should."""
    user.configure(*NAMES, new=[AMD], tls=[ARM])
    done = user.create()
    assert done.stdout.splitlines()[-1].startswith("All 3 nodes run.")

    hand = {"BUILDX_CONFIG": str(user.folder / "by-hand")}
    create = ("buildx", "create", "--name", "hand", *user.options)
    first = ("--driver", "docker-container", "--node", "new", "--platform", AMD)
    user.docker(*create, *first, farm["new"].endpoint, **hand)
    second = ("--append", "--node", "tls", "--platform", ARM, "buildfarm-tls")
    user.docker(*create, *second, **hand)
    user.docker(*create, "--append", "--node", "local", farm["local"].endpoint, **hand)
    by_hand = user.inspect("hand", **hand)
    assert user.inspect("ours") == by_hand
    assert by_hand.count("Status:") == by_hand.count("running") == 3

    mark = user.build("ours")
    assert user.built_on(mark, *NAMES) == ["new"]


def test_twice(user: BuildxUser) -> None:
    """The second time nothing changes, and that is said."""
    user.configure(*NAMES, new=[AMD, ARM], tls=[AMD], local=[AMD])
    user.create("--each", "--use")
    names = ["ours", *(f"ours-{name}" for name in NAMES)]
    before = [user.stored(name) for name in names]
    containers = [user.container(name) for name in NAMES]
    assert None not in before
    assert "ours*" in user.docker("buildx", "ls")
    done = user.create("--each", "--use")
    assert "Nothing to change." in done.stdout
    assert done.stdout.count("as it was") == 6
    assert [user.stored(name) for name in names] == before
    assert [user.container(name) for name in NAMES] == containers


def test_extended_and_changed(farm: Farm, user: BuildxUser) -> None:
    """A node more, other platforms, another address: entries change, containers do not."""
    user.configure("new", new=[AMD])
    user.create()
    container, mark = user.container("new"), user.build("ours")
    user.configure("new", "local", "tls", new=[ARM], local=[AMD, ARM], tls=[ARM])
    done = user.create()
    assert "  platforms changed  new: new at" in done.stdout
    assert "  added              local: local at" in done.stdout
    found = user.inspect("ours")
    assert [line.split()[1] for line in found.splitlines() if line.startswith("Platforms:")] == [
        f"{ARM}*,",
        f"{AMD}*,",
        f"{AMD},",
    ]
    assert user.container("new") == container
    assert user.built_on(mark, "new") == ["new"]

    entry = farm["new"].config()
    entry["endpoint"] = entry["endpoint"].replace("root@", "builder@")
    user.configure(entry, "local", "tls", new=[ARM], local=[AMD, ARM], tls=[ARM])
    assert "  endpoint changed  new: new at ssh://builder@" in user.create().stdout
    assert user.container("new") == container


def test_other_certificates(farm: Farm, user: BuildxUser) -> None:
    """The context holds the new ones after it, once."""
    user.configure("tls")
    assert "Docker context buildfarm-tls created" in user.create().stdout
    before = user.stored("ours")
    farm.client.authority.client("another").write(user.folder, "another")
    entry = farm["tls"].config()
    for key in ("cert", "key"):
        suffix = "-key" if key == "key" else ""
        entry["tls"] = entry["tls"] | {key: str(user.folder / f"another{suffix}.pem")}
    user.configure(entry)
    assert "Docker context buildfarm-tls updated" in user.create().stdout
    held = (user.folder / "docker" / "contexts" / "tls").glob("*/docker/cert.pem")
    assert (user.folder / "another.pem").read_bytes() in [path.read_bytes() for path in held]
    assert "Nothing to change." in user.create().stdout
    assert user.stored("ours") == before
    user.build("ours")


def test_in_order_by_route(farm: Farm, user: BuildxUser) -> None:
    """The best node is first and builds; what it was made with, containers and caches stay."""
    user.configure("new", "local", new=[AMD], local=[AMD])
    user.create()
    before = json.loads(user.stored("ours") or b"")
    containers = [user.container(name) for name in ("new", "local")]
    mark = user.build("ours")
    assert user.built_on(mark, "new", "local") == ["new"]
    with farm["new"].disk.filled(leave_mb=100):
        done = user.create("--by-route")
        assert user.built_on(user.build("ours"), "new", "local") == ["local"]
    assert done.stdout.index("local at") < done.stdout.index("new at")
    after = json.loads(user.stored("ours") or b"")
    for node in (*before["Nodes"], *after["Nodes"]):
        del node["Platforms"]
    assert before["Nodes"] == after["Nodes"][::-1]
    assert before["Nodes"][0]["Files"]
    assert [user.container(name) for name in ("new", "local")] == containers
    assert user.built_on(mark, "new") == ["new"]
    # Asked for no order, the one that is there stays.
    assert "Nothing to change." in user.create().stdout


def test_a_builder_for_each(user: BuildxUser) -> None:
    """Builds on its own node, on the BuildKit that the builder of all has."""
    user.configure("new", "local", new=[AMD], local=[AMD])
    user.create("--each")
    for name in ("new", "local"):
        container = user.container(name)
        mark = user.build(f"ours-{name}")
        assert user.built_on(mark, "new", "local") == [name]
        assert user.container(name) == container


def test_a_buildkit_that_is_there_is_taken_over(farm: Farm, user: BuildxUser) -> None:
    """By the name that the configuration selects, with its cache; another store has it as well."""
    farm["new"].build("farm0", "FROM busybox\nRUN echo taken >/over\n")
    containers = farm["new"].truth.containers()
    user.configure({**farm["new"].config(), "builders": ["farm0"]})
    user.create()
    assert farm["new"].truth.containers() == containers
    assert "docker buildx build" in user.create().stdout
    assert "taken" in user.docker("buildx", "du", "--builder", "ours", "--verbose")


def test_a_buildkit_that_is_there_and_not_selected(farm: Farm, user: BuildxUser) -> None:
    """Is told of, before and after another one is made beside it; what the note says works."""
    told = "note: new: farm0 is there already, with a cache of its own; to use it instead write "
    user.configure("new")
    dry = user.builder("create", "--name", "ours", "--dry-run")
    assert (dry.returncode, user.left()) == (0, {})
    assert told + "builders: [farm0] for this node\n" in dry.stderr
    assert told in user.create().stderr
    assert "is there already" not in user.create().stderr

    user.configure({**farm["new"].config(), "builders": ["farm0"]})
    assert user.builder("rm", "ours").returncode == 0
    containers = farm["new"].truth.containers()
    assert "is there already" not in user.create().stderr
    assert farm["new"].truth.containers() == containers


def test_a_bare_buildkitd(farm: Farm, user: BuildxUser) -> None:
    """The same as by hand, with TLS; twice nothing changes."""
    user.configure("kitd", kitd=[AMD])
    done = user.builder("create", "--name", "ours")
    assert done.returncode == 0, done.stderr
    hand = {"BUILDX_CONFIG": str(user.folder / "by-hand")}
    tls = {"cacert": "ca", "cert": "cert", "key": "key"}
    options = [f"--driver-opt={name}={farm.client.tls[key]}" for name, key in tls.items()]
    create = ("buildx", "create", "--name", "hand", "--driver", "remote", "--node", "kitd")
    user.docker(*create, "--platform", AMD, *options, farm["kitd"].endpoint, **hand)

    def told(text: str) -> list[str]:
        # Buildx prints the options in another order each time.
        return [" ".join(sorted(line.split())) for line in text.splitlines()]

    assert told(user.inspect("ours")) == told(user.inspect("hand", **hand))
    before = user.stored("ours")
    done = user.builder("create", "--name", "ours")
    assert (done.returncode, "Nothing to change." in done.stdout) == (0, True)
    assert user.stored("ours") == before


def test_nodes_of_two_drivers(user: BuildxUser) -> None:
    """Are refused before anything is done."""
    user.configure("new", "kitd")
    done = user.builder("create", "--name", "ours")
    assert done.returncode == 2
    assert "new needs docker-container, kitd (driver: remote) needs remote" in done.stderr
    assert (user.stored("ours"), user.left()) == (None, {})


def test_with_a_node_that_is_down(farm: Farm, user: BuildxUser) -> None:
    """Nothing is changed anywhere; with the others alone it works; the builder waits for it."""
    user.configure("new", "tls", "local")
    with farm["new"].sshd.stopped():
        done = user.builder("create", "--name", "ours", *user.options)
        assert done.returncode == 1
        assert "new: docker can't reach it: ssh: connect to host" in done.stderr
        assert done.stderr.endswith("Nothing was changed.\n")
        assert (user.stored("ours"), user.left(), user.contexts()) == (None, {}, [])
        assert "note: new is left out: " in user.create("--skip-unreachable").stderr
    before = user.stored("ours")
    with farm["tls"].engine.stopped():
        done = user.builder("create", "--name", "ours", *user.options)
        assert "tls: docker can't reach it: " in done.stderr
        assert "docker buildx create --name ours --leave --node tls" in done.stderr
        # Nothing to change, but to say that one does not run.
        done = user.builder("create", "--name", "ours", "tls", "local")
        assert done.returncode == 1
        assert "tls: tls does not run: " in done.stdout
    assert user.stored("ours") == before
