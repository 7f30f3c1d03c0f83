"""Versions, platforms and garbage collection: served as the nodes' own tools tell them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.realfarm.caches import BUILDERS
from tests.realfarm.daemon import Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.watching import agree, exporter_for_all

DRIVERS = {"docker": "docker", "buildkitd": "remote"}
COLLECT = {"reachability": "2s", "workers": "1s"}


def _inspect(farm: Farm, node: Node, builder: str) -> str:
    """What ``docker buildx inspect`` says of a builder."""
    if builder == "docker":
        return node.run(["buildx", "inspect", "default"]).stdout
    return farm.client.docker("buildx", "inspect", str(node.spec.builder))


def _workers(node: Node, builder: str) -> list[dict[str, Any]]:
    """What ``buildctl`` beside a BuildKit says of its workers; an Engine's own has no such way."""
    inside = [] if builder == "buildkitd" else ["docker", "exec", node.container_name]
    said = node.run([*inside, "buildctl", "debug", "workers", "--format", "{{json .}}"]).stdout
    workers: list[dict[str, Any]] = json.loads(said)
    return workers


def _info(scrape: Scrape, name: str, **labels: str) -> dict[str, str]:
    rows = [dict(found) for found in scrape.all(name, **labels)]
    assert len(rows) == 1, rows
    return {key: value for key, value in rows[0].items() if key not in labels}


@pytest.fixture(scope="module")
def exporter(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An exporter that has looked at all builders, and expects each to build for two platforms."""
    config = farm.config(collect=COLLECT)
    for node in config["nodes"]:
        node["platforms"] = ["linux/amd64", "linux/arm64"]
    with exporter_for_all(farm, tmp_path_factory.mktemp("exporter"), config) as daemon:
        daemon.wait("all builders", lambda s: len(s.all("buildfarm_builder_info")) == len(BUILDERS))
        yield daemon


def test_nodes(farm: Farm, exporter: Daemon) -> None:
    """Each node's system, CPU, way and Engine are told."""
    scrape = exporter.scrape()
    ways = {"old": "ssh", "new": "ssh", "tls": "tls", "local": "unix", "kitd": "tls"}
    for name, node in farm.nodes.items():
        bare = node.spec.engine == "buildkitd"
        assert node.run(["uname", "-sm"]).stdout == "Linux x86_64\n"
        assert _info(scrape, "buildfarm_node_info", node=name) == {
            "transport": ways[name],
            "driver": "remote" if bare else "docker",
            "os": "linux",
            "arch": "amd64",
            "engine_version": "" if bare else node.truth.version(),
        }


def test_builders(farm: Farm, exporter: Daemon) -> None:
    """Each builder's driver and version; a container builder is selected before the Engine's."""
    scrape = exporter.scrape()
    for name, builder in BUILDERS:
        node = farm[name]
        info = _info(scrape, "buildfarm_builder_info", node=name, builder=builder)
        version = info.pop("buildkit_version")
        assert info == {
            "driver": DRIVERS.get(builder, "docker-container"),
            "selected": "true" if builder == node.builders[-1] else "false",
        }
        if builder != "docker":
            assert version == _workers(node, builder)[0]["buildkitVersion"]["version"]
        elif name == "old":
            assert version == ""  # BuildKit 0.8 does not tell
        else:
            told = re.search(r"BuildKit version:\s+(\S+)", _inspect(farm, node, builder))
            assert told is not None
            assert version.removesuffix("-moby") == told[1]


def test_gc_keep(farm: Farm, exporter: Daemon) -> None:
    """The largest cap of BuildKit's own policies is told; where there is none, nothing."""
    scrape = exporter.scrape()
    for name, builder in BUILDERS:
        labels = {"node": name, "builder": builder}
        if builder == "docker":
            assert "GC Policy" not in _inspect(farm, farm[name], builder)
            assert not scrape.all("buildfarm_builder_gc_keep_bytes", **labels)
        else:
            (worker,) = _workers(farm[name], builder)
            cap = max(policy["maxUsedSpace"] for policy in worker["gcPolicy"])
            assert scrape.value("buildfarm_builder_gc_keep_bytes", **labels) == cap > 0


def _platforms(scrape: Scrape, node: str, builder: str) -> dict[str, bool]:
    rows = scrape.all("buildfarm_builder_platform", node=node, builder=builder)
    found = (dict(labels) for labels in rows)
    return {row["platform"]: row["emulated"] == "true" for row in found}


def _told_platforms(farm: Farm, node: Node, builder: str) -> dict[str, bool]:
    """As buildx lists them; on these nodes what is not of the family x86 needs the emulator."""
    if builder == "docker":
        listed = re.search(r"Platforms:\s+(.*)", _inspect(farm, node, builder))
        assert listed is not None
        names = [name.rstrip("*") for name in listed[1].split(", ")]
    else:
        rows = _workers(node, builder)[0]["platforms"]
        parts = ([row["os"], row["architecture"], row.get("variant", "")] for row in rows)
        names = ["/".join(filter(None, part)) for part in parts]
    return {name: name.split("/")[1] not in ("amd64", "386") for name in names}


def _agree(
    farm: Farm,
    exporter: Daemon,
    rows: Iterable[tuple[str, str]],
    also: Callable[[dict[str, bool]], object] = lambda _: True,
) -> None:
    for name, builder in rows:
        agree(
            exporter,
            lambda scrape, n=name, b=builder: _platforms(scrape, n, b),  # type: ignore[misc]
            lambda n=name, b=builder: _told_platforms(farm, farm[n], b),  # type: ignore[misc]
            also=also,
        )


def _has_emulated_arm64(platforms: dict[str, bool]) -> bool:
    return platforms.get("linux/arm64") is True


def test_platforms(farm: Farm, exporter: Daemon) -> None:
    """Platforms are those that buildx lists; one that QEMU runs is emulated, while it is there."""
    with farm.emulated_arm64():
        _agree(farm, exporter, BUILDERS, _has_emulated_arm64)
    # BuildKit goes on listing what it has seen once, for as long as it runs.
    _agree(farm, exporter, BUILDERS[-1:])
    farm["kitd"].engine.restart()
    _agree(farm, exporter, BUILDERS[-1:], lambda found: "linux/arm64" not in found)


def test_platform_missing(farm: Farm, exporter: Daemon) -> None:
    """An expected platform is missing where it is not native, and emulation is no substitute."""

    def missing(scrape: Scrape) -> dict[tuple[str, str], float]:
        rows = scrape.all("buildfarm_platform_missing").items()
        return {(dict(row)["node"], dict(row)["platform"]): value for row, value in rows}

    wanted = {(name, "linux/amd64"): 0.0 for name in farm.nodes}
    wanted |= {(name, "linux/arm64"): 1.0 for name in farm.nodes}
    assert missing(exporter.scrape()) == wanted
    with farm.emulated_arm64():
        _agree(farm, exporter, [("new", "farm0")], _has_emulated_arm64)
        assert missing(exporter.scrape()) == wanted
