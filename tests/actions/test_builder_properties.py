"""Whatever builder is there, and whatever is configured: the plan makes the one of the other."""

from __future__ import annotations

import string
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.actions.builder_merge import Wish
from exporter.actions.builder_nodes import buildx_nodes
from exporter.actions.builder_plan import plan
from exporter.model import BuildxBuilder
from tests.actions.buildx_model import Buildx, spec, stored

AMD, ARM = "linux/amd64", "linux/arm64"
PLATFORMS = st.lists(st.sampled_from([AMD, ARM, "linux/386"]), unique=True, max_size=3)
MACHINES = st.sampled_from(string.ascii_lowercase[:5])


@st.composite
def stores(draw: st.DrawFn) -> Buildx:
    """A builder as somebody might have made it by hand: claims are nobody's twice."""
    buildx, claimed = Buildx(), set[str]()
    nodes = []
    for machine in draw(st.lists(MACHINES, unique=True, max_size=4)):
        mine = [p for p in draw(PLATFORMS) if p not in claimed]
        claimed.update(mine)
        name = draw(st.sampled_from([machine, f"{machine}0"]))
        options = draw(st.sampled_from([{}, {"memory": "1g"}]))
        files = draw(st.sampled_from([{}, {"buildkitd.toml": b"debug = true"}]))
        nodes.append(stored(name, *mine, at=machine, options=options, files=files))
    if nodes:
        buildx.builders["farm"] = BuildxBuilder("farm", "docker-container", tuple(nodes))
    return buildx


@given(
    stores(),
    st.lists(st.tuples(MACHINES, PLATFORMS), unique_by=lambda pair: pair[0], min_size=1),
    st.booleans(),
)
def test_what_is_planned_comes_true(
    buildx: Buildx, nodes: list[tuple[str, list[str]]], in_order: bool
) -> None:
    """The steps lead to the planned nodes; then nothing is left to do; nobody else's node goes."""
    specs = [spec(name, *platforms) for name, platforms in nodes]
    wanted = Wish("farm", *buildx_nodes(specs, {}), in_order=in_order)
    before = buildx.builders.get("farm")
    found = plan(wanted, before)
    buildx.run(found.steps)
    after = buildx.builders["farm"]
    assert [replace(n, spec=None) for n in after.nodes] == [
        replace(n, spec=None, flags=n.flags or after.nodes[0].flags) for n in found.nodes
    ]
    again = plan(wanted, after)
    assert not again.steps
    assert {fate.done for fate in again.fates} == {"as it was"}
    assert {n.name for n in (before.nodes if before else ())} <= {n.name for n in after.nodes}
    claims = [platform for node in after.nodes for platform in node.platforms]
    assert len(claims) == len(set(claims)) >= len({p for _, ps in nodes for p in ps})
    if in_order:
        machines = [node.spec.name for node in after.nodes if node.spec]
        assert machines[: len(nodes)] == [name for name, _ in nodes]
        for platform in {p for _, ps in nodes for p in ps}:
            first = next(name for name, ps in nodes if platform in ps)
            assert platform in after.nodes[machines.index(first)].platforms
