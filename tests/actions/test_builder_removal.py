"""What the removal of a buildx builder means."""

from __future__ import annotations

from exporter.actions.builder_removal import removal, steps
from exporter.model import BuildxBuilder, BuildxNode
from tests.actions.buildx_model import Buildx, stored

NODES = (
    stored("farm0", at="a"),
    stored("b"),
    stored("tls0", at="c", endpoint="buildfarm-c"),
)
ALL = {node.name for node in NODES}


def builder(name: str, *nodes: BuildxNode) -> BuildxBuilder:
    return BuildxBuilder(name, "docker-container", nodes)


FARM = builder("farm", *NODES)
SINGLES = (builder("farm-a", NODES[0]), builder("Farm-b", NODES[1]))


def test_what_else_there_is() -> None:
    """Builders of one node go along; BuildKits and contexts that others have stay."""
    others = (
        *SINGLES,
        builder("farm-pair", NODES[1], stored("z")),
        builder("farm-x", stored("farm0", at="elsewhere")),
        builder("mine", stored("tls0", at="c", endpoint="buildfarm-c")),
        builder("other", stored("farm0", at="elsewhere"), stored("else", at="a")),
    )
    meant = removal(FARM, others)
    assert meant.singles == {"farm-a": "farm0", "Farm-b": "b"}
    assert meant.shared == {"b": "farm-pair", "tls0": "mine"}
    assert meant.contexts == {}
    assert removal(FARM, SINGLES).contexts == {"tls0": "buildfarm-c"}


def test_all_done() -> None:
    """Buildx forgets the builders without a look at the nodes, and docker the contexts."""
    commands = [" ".join(step.arguments) for step in steps(removal(FARM, SINGLES), ALL)]
    assert commands == [
        "buildx rm --keep-daemon --keep-state farm-a",
        "buildx rm --keep-daemon --keep-state Farm-b",
        "buildx rm --keep-daemon --keep-state farm",
        "context rm buildfarm-c",
    ]


def test_a_node_that_was_down_is_kept_for_another_time() -> None:
    """And nothing else."""
    buildx = Buildx({one.name: one for one in (FARM, *SINGLES)})
    found = steps(removal(FARM, SINGLES), ALL - {"b"})
    buildx.run(found)
    assert {name: [n.name for n in one.nodes] for name, one in buildx.builders.items()} == {
        "farm": ["b"],
        "Farm-b": ["b"],
    }
    assert ("context", "rm", "buildfarm-c") in [step.arguments for step in found]
    rest = removal(buildx.builders["farm"], [buildx.builders["Farm-b"]])
    buildx.run(steps(rest, {"b"}))
    assert not buildx.builders
