"""Disks, orphaned volumes and certificates: what is served is what the nodes themselves tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.realfarm.daemon import Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.node import Node
from tests.realfarm.watching import agree, exporter_for_all

COLLECT = {"reachability": "2s", "disk": "1s", "workers": "1s", "orphans": "1s"}
MB = 1 << 20

Figures = tuple[int, int, int, int]
"""Size and available in bytes, inodes and free inodes."""


@pytest.fixture(scope="module")
def exporter(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """An exporter of the whole farm."""
    folder = tmp_path_factory.mktemp("exporter")
    with exporter_for_all(farm, folder, farm.config(collect=COLLECT)) as daemon:
        yield daemon


def _served(node: Node) -> Callable[[Scrape], Figures | None]:
    names = ("size_bytes", "available_bytes", "inodes", "inodes_free")
    labels = {"node": node.name, "path": node.root}

    def figures(scrape: Scrape) -> Figures | None:
        found = [scrape.get(f"buildfarm_disk_{name}", **labels) for name in names]
        size, available, inodes, free = (-1 if value is None else int(value) for value in found)
        return None if size < 0 else (size, available, inodes, free)

    return figures


def _told(node: Node) -> Figures:
    figures = node.truth.file_system()
    return figures.size_bytes, figures.available_bytes, figures.inodes, figures.inodes_free


@pytest.mark.parametrize("name", ["old", "new", "tls", "local", "kitd"])
def test_disk(farm: Farm, exporter: Daemon, name: str) -> None:
    """Bytes and inodes are those of ``stat -f``, before the disk fills, filled, and after."""
    node = farm[name]
    before = agree(exporter, _served(node), lambda: _told(node))
    with node.disk.filled(leave_mb=100), node.disk.inodes_filled(leave=100):
        inside = agree(exporter, _served(node), lambda: _told(node))
    after = agree(exporter, _served(node), lambda: _told(node))
    assert before is not None
    assert inside is not None
    assert after is not None
    assert inside[0] == before[0] == after[0]
    # The node's own servers give back a file or two meanwhile.
    assert inside[1] < 110 * MB < 500 * MB < min(before[1], after[1])
    assert inside[3] < 200 < 10_000 < min(before[3], after[3])


def test_disk_without_ssh_and_node_exporter(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """Over TLS alone the disk is looked at from inside the builder's container."""
    node = farm["tls"]
    config = farm.config("tls", collect=COLLECT)
    del config["nodes"][0]["disk"]
    exporter = daemon(config)
    stat = ["stat", "-f", "-c", "%S %b %a %c %d", "/var/lib/buildkit"]

    def told() -> Figures:
        # To run a command there takes some blocks itself, for as long as it runs.
        said = node.run(["docker", "exec", node.container_name, *stat]).stdout
        block, blocks, available, inodes, free = map(int, said.split())
        return block * blocks, block * available, inodes, free

    with node.disk.filled(leave_mb=100):
        inside = agree(exporter, _served(node), told)
    assert inside is not None
    assert (inside[0], inside[2]) == (_told(node)[0], _told(node)[2])
    assert inside[1] < 101 * MB


def _orphans(node: str) -> Callable[[Scrape], tuple[float | None, float | None]]:
    name = "buildfarm_orphaned_state_volumes"
    return lambda s: (s.get(name, node=node), s.get(f"{name}_bytes", node=node))


def _state_volumes(node: Node) -> tuple[float | None, float | None]:
    """How many state volumes no container uses, and their bytes, as the Engine has it."""
    usage = [
        volume["UsageData"]
        for volume in node.truth.system_df()["Volumes"]
        if volume["Name"].startswith("buildx_buildkit_") and volume["Name"].endswith("_state")
    ]
    unused = [use["Size"] for use in usage if use["RefCount"] == 0]
    return len(unused), sum(unused)


def test_removed_builder_leaves_an_orphan(farm: Farm, exporter: Daemon) -> None:
    """Its state is an orphan of its whole size as long as the builder's container is gone."""
    node = farm["new"]
    node.build("farm0", "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=9\n")
    assert agree(exporter, _orphans("new"), lambda: _state_volumes(node)) == (0, 0)
    with node.builder_removed():
        count, size = agree(exporter, _orphans("new"), lambda: _state_volumes(node))
        assert count == 1
        assert size is not None
        assert size > 9 * MB
        assert _orphans("tls")(exporter.scrape()) == (0, 0)
    assert agree(exporter, _orphans("new"), lambda: _state_volumes(node)) == (0, 0)


def test_orphans_on_an_old_engine(farm: Farm, exporter: Daemon) -> None:
    """Volumes that only look like it do not count; an Engine before API 1.42 measures them too."""
    node = farm["old"]
    names = ("buildx_buildkit_gone0_state", "buildx_buildkit_gone0_cache", "my_state")
    try:
        for name in names:
            made = node.truth.engine("POST", "/volumes/create", {"Name": name})
            node.run(["dd", "if=/dev/zero", f"of={made['Mountpoint']}/x", "bs=1M", "count=3"])
        assert agree(exporter, _orphans("old"), lambda: _state_volumes(node)) == (1, 3 * MB)
    finally:
        for name in set(names) & set(node.truth.volumes()):
            node.truth.engine("DELETE", f"/volumes/{name}")
    assert agree(exporter, _orphans("old"), lambda: _state_volumes(node)) == (0, 0)


def _ends(scrape: Scrape, node: str) -> dict[str, float]:
    name = "buildfarm_tls_certificate_not_after_timestamp_seconds"
    return {dict(labels)["side"]: at for labels, at in scrape.all(name, node=node).items()}


def _end(file: Path) -> float:
    return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()


@pytest.mark.parametrize("name", ["tls", "kitd"])
def test_certificates(farm: Farm, exporter: Daemon, name: str) -> None:
    """Both ends' certificates end when the files say, also once the server's has been renewed."""
    node, client = farm[name], farm.client

    def told() -> dict[str, float]:
        server = node.machine.path("/etc/node/cert.pem")
        return {"server": _end(server), "client": _end(Path(client.tls["cert"]))}

    before = agree(exporter, lambda scrape: _ends(scrape, name), told)
    with node.certificate(client.authority.server(node.address, valid_for=timedelta(days=9))):
        inside = agree(exporter, lambda scrape: _ends(scrape, name), told)
        assert inside["server"] < before["server"] - 30 * 86400
    agree(exporter, lambda scrape: _ends(scrape, name), told)
    assert not any(_ends(exporter.scrape(), other) for other in ("old", "new", "local"))
