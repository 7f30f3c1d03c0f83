"""The farm is what it says it is: tests on it are worth as much as this."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Callable
from functools import partial

import pytest

from tests.realfarm.daemon import Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.specs import NODES, FarmNode

BUILDERS = [
    (spec.name, builder)
    for spec in NODES
    for builder in (("buildkitd",) if spec.engine == "buildkitd" else ("docker", spec.container))
    if builder
]


@pytest.mark.parametrize(
    ("name", "argv", "version"),
    [
        ("old", ["docker", "--host={endpoint}", "version"], "20.10.24"),
        ("new", ["docker", "--host={endpoint}", "version"], "26.1.5"),
        ("tls", ["docker", "--context=tls-context", "version"], "26.1.5"),
        ("local", ["docker", "--host={endpoint}", "version"], "26.1.5"),
        ("kitd", ["docker", "buildx", "inspect", "kitd"], "v0.32.2"),
    ],
)
def test_node_answers_its_own_way(farm: Farm, name: str, argv: list[str], version: str) -> None:
    """The real client reaches each node by its endpoint, and finds the server it should be."""
    node = farm[name]
    said = farm.client.run([word.format(endpoint=node.endpoint) for word in argv]).stdout
    server = said.partition("Server:")[2] or said
    assert version in server
    assert version in node.truth.version()


@pytest.mark.parametrize(("name", "builder"), BUILDERS)
def test_build_makes_cache_in_its_builder_only(farm: Farm, name: str, builder: str) -> None:
    """A build's 12 MiB are in the cache of the builder that ran it, and of no other on the node."""
    node = farm[name]
    before = {other: _size(farm, name, other) for other in node.builders}
    said = node.build(
        builder,
        f"FROM busybox\nCOPY seed /seed\nRUN dd if=/dev/urandom of=/{builder} bs=1M count=12\n",
        {"seed": builder.encode()},
    )
    assert re.search(r"DONE \d", said)
    grown = {other: _size(farm, name, other) - before[other] for other in node.builders}
    assert grown.pop(builder) >= 12 << 20
    assert all(size == 0 for size in grown.values())


def _size(farm: Farm, name: str, builder: str) -> int:
    return sum(int(_bytes(record)) for record in farm[name].truth.cache(builder))


def _bytes(record: dict[str, object]) -> float:
    """A record's size: a number from buildctl, ``12.58MB`` from buildx."""
    size = record.get("Size", record.get("size", 0))
    if isinstance(size, int | float):
        return size
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", str(size)).groups()  # type: ignore[union-attr]
    return float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def test_push_to_the_registry(farm: Farm) -> None:
    """A container builder pushes to the farm's registry."""
    image = f"{farm.registry_address}/made:1"
    farm["new"].build("farm0", "FROM busybox\nRUN true\n", options=["--push", f"--tag={image}"])
    with urllib.request.urlopen(f"http://{farm.registry_address}/v2/made/tags/list") as answer:
        assert b'"1"' in answer.read()


@pytest.mark.parametrize(("name", "builder"), [("new", "farm0"), ("kitd", "buildkitd")])
def test_emulated_arm64(farm: Farm, name: str, builder: str) -> None:
    """Inside, an arm64 program really runs in a build; before, it did not."""
    options = (
        ["--opt=platform=linux/arm64"] if builder == "buildkitd" else ["--platform=linux/arm64"]
    )
    with farm.emulated_arm64():
        said = farm[name].build(
            builder, f"FROM busybox\nRUN echo this-is-$(uname -m) {builder}\n", options=options
        )
    assert "this-is-aarch64" in said


def test_node_exporter_serves_the_node_s_disk(farm: Farm) -> None:
    """What node_exporter says of the disk is what ``stat`` says on the node."""
    for name in ("tls", "kitd"):
        node = farm[name]
        url = str(node.config()["disk"]["node_exporter"])
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
        size = re.search(
            rf'node_filesystem_size_bytes{{[^}}]*mountpoint="{node.root}"}} (\S+)', text
        )
        assert size is not None
        assert float(size[1]) == node.truth.file_system().size_bytes


@pytest.mark.parametrize("spec", NODES, ids=lambda spec: spec.name)
def test_disk_is_the_node_s_own(farm: Farm, spec: FarmNode) -> None:
    """The engine's data is on a file system of the size that the node's spec says."""
    figures = farm[spec.name].truth.file_system()
    assert figures.inodes == pytest.approx(spec.inodes, rel=0.02)
    assert figures.size_bytes == pytest.approx(spec.size_mb << 20, rel=0.05)
    assert figures.free_bytes > figures.available_bytes


def test_local_disk_is_seen_from_here(farm: Farm) -> None:
    """Docker's root of ``local`` is on the same file system for this machine and for the node."""
    node = farm["local"]
    assert node.truth.engine("GET", "/info")["DockerRootDir"] == node.root
    assert os.statvfs(node.root).f_files == node.truth.file_system().inodes


def test_removed_builder_leaves_its_state(farm: Farm) -> None:
    """Without its container the builder's volume is an orphan; the builder comes back with it."""
    node = farm["new"]
    node.build("farm0", "FROM busybox\nRUN echo kept\n")
    with node.builder_removed():
        assert node.container_name not in node.truth.containers()
        assert f"{node.container_name}_state" in node.truth.volumes()
    assert node.truth.containers()[node.container_name] == "running"
    assert "CACHED" in node.build("farm0", "FROM busybox\nRUN echo kept\n")


def test_exporter_sees_every_node_up(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """The exporter, over each transport, reports what the nodes say themselves."""
    exporter = daemon(farm.config())
    for name, node in farm.nodes.items():
        seen = exporter.wait(f"{name} up, with its disk", partial(_is_up, name=name))
        assert seen.value("buildfarm_disk_inodes", node=name) == node.truth.file_system().inodes


def _is_up(scrape: Scrape, name: str) -> bool:
    up = scrape.get("buildfarm_node_up", node=name) == 1
    return up and bool(scrape.all("buildfarm_disk_inodes", node=name))
