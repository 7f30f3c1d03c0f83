"""A canary over several nodes: what it has buildx do, and what it makes of it."""

from __future__ import annotations

import pytest

from exporter.canaries import CanaryOutcome, CanaryTrigger
from tests.actions.multiarch import ALL, AMD64, ARM64, CACHE, PUSH, BuildxFarm


async def test_what_is_asked_of_buildx(farm: BuildxFarm) -> None:
    """Two builds of the same: the first writes the shared cache, both push."""
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.OK, record.detail
    first, second = farm.asked("build")
    assert first[:-1] == [
        *("buildx", "build", "--builder", "farm", "--platform", f"{AMD64},{ARM64}"),
        *("--push", "--tag", PUSH, f"--cache-from=type=registry,ref={CACHE}"),
        f"--cache-to=type=registry,ref={CACHE},mode=max",
        *("--progress", "rawjson", "--provenance=false", "--build-arg", "BUILDFARM_CANARY=id-1"),
    ]
    assert [word for word in first if not word.startswith("--cache-to")] == second
    stores = [store for _, store in farm.calls if store != str(farm.instances.parent)]
    assert len(set(stores)) == 3
    assert all(store.startswith(str(farm.folder / "scratch")) for store in stores)


async def test_what_comes_of_it(farm: BuildxFarm) -> None:
    """Nodes and steps of both builds, what was pushed, and the time that the builds took."""
    record = await farm.canary()
    assert record.id == "id-1"
    assert (record.builder, record.trigger) == ("farm", CanaryTrigger.MANUAL)
    assert (record.started_at, record.finished_at) == (1000.0, 1005.0)
    assert record.first is not None
    assert record.second is not None
    assert record.first.nodes == {AMD64: "two", ARM64: "two"}
    assert record.second.nodes == {AMD64: "one", ARM64: "one"}
    assert (record.first.steps, record.first.cached, record.first.seconds) == (6, 0, 1.0)
    assert (record.second.steps, record.second.cached, record.second.seconds) == (6, 6, 1.0)
    assert (record.across_nodes, record.pushed, record.detail) == (True, (AMD64, ARM64), None)


async def test_no_cache(farm: BuildxFarm) -> None:
    """Without a shared cache it is built once."""
    record = await farm.canary(cache=None)
    assert record.outcome is CanaryOutcome.OK
    (build,) = farm.asked("build")
    assert not [word for word in build if word.startswith("--cache")]
    assert (record.second, record.across_nodes, record.detail) == (None, None, None)


@pytest.mark.parametrize(
    ("claimed", "offers", "first", "second"),
    [
        # Each has the other's platform natively, or emulates what was emulated already.
        ({"one": [AMD64], "two": [ARM64]}, {"one": ALL, "two": ALL}, "one two", "two one"),
        # A native platform does not go where it would be emulated.
        (
            {"one": [AMD64], "two": [ARM64], "three": []},
            {"one": ALL, "two": [ARM64, AMD64], "three": ALL},
            "one two",
            "three two",
        ),
        ({"one": [], "two": []}, {"one": ALL, "two": [ARM64]}, "one one", "one two"),
    ],
)
async def test_where_it_is_built_again(
    farm: BuildxFarm,
    claimed: dict[str, list[str]],
    offers: dict[str, list[str]],
    first: str,
    second: str,
) -> None:
    """On another node, if there is one that does it as well; only what moved is counted."""
    farm.builder(**claimed)
    farm.knobs["offers"] = offers
    record = await farm.canary(AMD64, ARM64)
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert record.first is not None
    assert record.second is not None
    assert [record.first.nodes[name] for name in (AMD64, ARM64)] == first.split()
    assert [record.second.nodes[name] for name in (AMD64, ARM64)] == second.split()
    moved = sum(a != b for a, b in zip(first.split(), second.split(), strict=True))
    assert (record.second.steps, record.second.cached) == (3 * moved, 3 * moved)
    assert record.across_nodes is True


async def test_no_other_node(farm: BuildxFarm) -> None:
    """Its own cache would say nothing of the shared one."""
    farm.builder(one=[AMD64])
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.OK
    assert len(farm.asked("build")) == 1
    assert (record.second, record.across_nodes) == (None, False)
    assert record.detail == "no platform has a second node, so the shared cache was not tried"


@pytest.mark.parametrize(
    ("claimed", "given", "built"),
    [
        ({"one": [AMD64], "two": [ARM64]}, (), f"{AMD64},{ARM64}"),
        ({"one": [], "two": []}, (), AMD64),
        ({"one": [], "two": [ARM64]}, (), f"{AMD64},{ARM64}"),
        ({"one": [], "two": [ARM64]}, (AMD64,), AMD64),
    ],
    ids=["claimed", "own", "both", "given"],
)
async def test_platforms(
    farm: BuildxFarm, claimed: dict[str, list[str]], given: tuple[str, ...], built: str
) -> None:
    """Those given, else those claimed for the nodes, and of a node without any its own."""
    farm.builder(**claimed)
    record = await farm.canary(*given)
    assert record.outcome is CanaryOutcome.OK, record.detail
    assert ",".join(record.pushed) == built
    ((*_, last),) = farm.asked("inspect")
    assert last == "farm"
    known = bool(given) or all(claimed.values())
    assert ("--bootstrap" in farm.asked("inspect")[0]) is not known


@pytest.mark.parametrize(
    ("cached", "progress", "said"),
    [
        ([ARM64], [], f"nothing of {AMD64} came from the shared cache: nodes that build together"),
        ([], [], f"nothing of {AMD64}, {ARM64} came from the shared cache: its steps were not"),
        (
            [],
            [{"digest": "sha256:a", "name": f"importing cache manifest from {CACHE}"}],
            f"nothing of {AMD64}, {ARM64} came from the shared cache: denied",
        ),
    ],
)
async def test_not_in_the_shared_cache(
    farm: BuildxFarm, cached: list[str], progress: list[dict[str, str]], said: str
) -> None:
    """It is no failure, and it is said why."""
    farm.builder(one=[AMD64], two=[ARM64])
    farm.knobs["cached"] = cached
    farm.knobs["progress"] = [{"vertexes": [line | {"error": "denied"}]} for line in progress]
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.OK
    assert record.second is not None
    assert record.second.cached == 3 * len(cached)
    assert str(record.detail).startswith(said)


async def test_nodes_that_nothing_is_claimed_for(farm: BuildxFarm) -> None:
    """Which of them built what, each is asked by itself."""
    farm.builder(one=[], two=[])
    farm.knobs["offers"] = {"one": [AMD64], "two": [ARM64]}
    record = await farm.canary()
    assert record.first is not None
    assert record.first.nodes == {AMD64: "one", ARM64: "two"}


async def test_buildx_without_history(farm: BuildxFarm) -> None:
    """The nodes are those that the platforms are claimed for."""
    farm.builder(one=[AMD64], two=[ARM64])
    farm.knobs["fails"] = {"history": "unknown command"}
    record = await farm.canary()
    assert record.first is not None
    assert record.first.nodes == {AMD64: "one", ARM64: "two"}
    assert (record.across_nodes, record.detail) == (True, None)


async def test_nodes_are_not_known(farm: BuildxFarm) -> None:
    """Without claims nobody could say so; the image is built and checked all the same."""
    farm.builder(one=[], two=[])
    farm.knobs |= {"fails": {"history": "unknown command"}}
    farm.knobs["offers"] = {"one": [AMD64], "two": [ARM64]}
    record = await farm.canary()
    assert record.outcome is CanaryOutcome.OK
    assert record.first is not None
    assert record.first.nodes == {}
    assert (record.second, record.across_nodes) == (None, None)
    assert str(record.detail).startswith("which node built what is not known, so the shared cache")


async def test_others_can_t_read_the_copy(farm: BuildxFarm) -> None:
    """A builder's file can have secrets, as the user's store has it for that user alone."""
    seen = farm.folder / "seen"
    first, *rest = farm.program.read_text().splitlines()
    look = f'stat -c %a "$BUILDX_CONFIG" "$BUILDX_CONFIG"/instances/* >> {seen}'
    farm.program.write_text("\n".join([first, look, *rest]))
    (farm.instances / "farm").chmod(0o600)
    farm.instances.parent.chmod(0o700)
    assert (await farm.canary()).outcome is CanaryOutcome.OK
    assert set(seen.read_text().split()) == {"700", "600"}
