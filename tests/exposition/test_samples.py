"""What each part of a snapshot says in metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from exporter.exposition.families import Distribution
from exporter.exposition.samples import parts
from exporter.model import (
    Certificates,
    CollectorState,
    Driver,
    NodeSpec,
    Orphans,
    Snapshot,
    TcpEndpoint,
    Workers,
)
from tests.exposition.known import DISK, DOCKER, DOWN, ENGINE, FARM0, NOW, UP, known, learned

Row = tuple[str, dict[str, str], float | Distribution]


def said(part: str, **changes: Any) -> list[Row]:
    """What a part of a snapshot says, with the metrics' common beginning left out."""
    snapshot = replace(known(), **changes)
    (samples,) = [samples for name, _, samples in parts(snapshot) if name == part]
    return [
        (family.name.removeprefix("buildfarm_"), dict(labels), value)
        for family, labels, value in samples
    ]


def names(rows: list[Row]) -> list[str]:
    return [name for name, _, _ in rows]


def test_a_node_that_answers() -> None:
    assert said("reachability", reachability=learned(UP)) == [
        ("node_up", {}, 1),
        ("node_layer_up", {"layer": "transport"}, 1),
        ("node_layer_up", {"layer": "engine"}, 1),
        ("node_layer_up", {"layer": "buildkit"}, 1),
        ("node_round_trip_seconds", {}, 0.0012),
    ]


def test_a_node_that_fails_says_why() -> None:
    assert said("reachability", reachability=learned(DOWN)) == [
        ("node_up", {}, 0),
        ("node_layer_up", {"layer": "transport"}, 1),
        ("node_layer_up", {"layer": "engine"}, 0),
        ("node_layer_up", {"layer": "buildkit"}, 0),
        ("node_failure", {"layer": "engine", "reason": "permission"}, 1),
    ]


def test_a_node_with_an_engine() -> None:
    info = {
        "transport": "ssh",
        "driver": "docker",
        "os": "linux",
        "arch": "amd64",
        "engine_version": "28.5.2",
    }
    assert said("workers")[0] == ("node_info", info, 1)


def test_a_bare_buildkitd_s_platform_is_its_node_s() -> None:
    spec = NodeSpec("kitd", TcpEndpoint("kitd", 1234, None), remote=True)
    worker = replace(FARM0, builder=replace(FARM0.builder, name="buildkitd", driver=Driver.REMOTE))
    info = {
        "transport": "tcp",
        "driver": "remote",
        "os": "linux",
        "arch": "amd64",
        "engine_version": "",
    }
    rows = said("workers", node=spec, workers=learned(Workers(None, (worker,))))
    assert rows[0] == ("node_info", info, 1)


def test_builders_and_their_platforms() -> None:
    rows = said("workers")
    docker = {"driver": "docker", "buildkit_version": "v0.25.1", "selected": "false"}
    farm0 = {"driver": "docker-container", "buildkit_version": "v0.32.2", "selected": "true"}
    assert [row for row in rows if row[0].startswith("builder")] == [
        ("builder_info", {"builder": "docker", **docker}, 1),
        (
            "builder_platform",
            {"builder": "docker", "platform": "linux/amd64", "emulated": "false"},
            1,
        ),
        ("builder_info", {"builder": "farm0", **farm0}, 1),
        (
            "builder_platform",
            {"builder": "farm0", "platform": "linux/amd64", "emulated": "false"},
            1,
        ),
        (
            "builder_platform",
            {"builder": "farm0", "platform": "linux/arm64", "emulated": "true"},
            1,
        ),
        ("builder_gc_keep_bytes", {"builder": "farm0"}, 60_000_000_000),
    ]


@pytest.mark.parametrize(
    ("expected", "missing"),
    [("linux/amd64", 0), ("linux/arm64", 1), ("linux/s390x", 1)],
    ids=["native", "only emulated", "not there"],
)
def test_expected_platforms(expected: str, missing: int) -> None:
    rows = said("workers", node=replace(known().node, platforms=(expected,)))
    assert ("platform_missing", {"platform": expected}, missing) in rows


@pytest.mark.parametrize("workers", [(), (DOCKER,)], ids=["no answer", "not a selected one"])
def test_nothing_is_missing_as_long_as_nothing_is_known(workers: tuple[Any, ...]) -> None:
    assert "platform_missing" not in names(
        said("workers", workers=learned(Workers(ENGINE, workers)))
    )


@pytest.mark.parametrize("full_at", [NOW, None])
def test_a_disk(full_at: float | None) -> None:
    path = {"path": "/var/lib/docker"}
    rows: list[Row] = [
        ("disk_size_bytes", path, 1000),
        ("disk_available_bytes", path, 400),
        ("disk_inodes", path, 100),
        ("disk_inodes_free", path, 40),
    ]
    if full_at is not None:
        rows.append(("disk_full_timestamp_seconds", path, NOW))
    assert said("disk", disk=learned(replace(DISK, full_at=full_at))) == rows


def test_caches() -> None:
    assert said("cache")[:8] == [
        ("cache_size_bytes", {"builder": "docker", "record_type": "regular"}, 30),
        ("cache_records", {"builder": "docker", "record_type": "regular"}, 3),
        ("cache_size_bytes", {"builder": "docker", "record_type": "source.local"}, 12),
        ("cache_records", {"builder": "docker", "record_type": "source.local"}, 1),
        ("cache_reclaimable_bytes", {"builder": "docker"}, 30),
        ("cache_in_use_bytes", {"builder": "docker"}, 12),
        ("cache_shared_bytes", {"builder": "docker"}, 5),
        ("cache_idle_bytes", {"builder": "docker", "older_than": "1d"}, 20),
    ]


@pytest.mark.parametrize(("size", "rows"), [(7, 2), (0, 2), (None, 1)])
def test_orphans_whose_size_may_not_be_known(size: int | None, rows: int) -> None:
    told = said("orphans", orphans=learned(Orphans(("a", "b"), size)))
    expected: list[Any] = [("orphaned_state_volumes", {}, 2)]
    expected.append(("orphaned_state_volumes_bytes", {}, size))
    assert told == expected[:rows]


def test_certificates_that_there_are() -> None:
    name = "tls_certificate_not_after_timestamp_seconds"
    server, client = (name, {"side": "server"}, 5.0), (name, {"side": "client"}, 6.0)
    assert said("certificates", certificates=learned(Certificates(5.0, 6.0))) == [server, client]
    assert said("certificates", certificates=learned(Certificates(5.0, None))) == [server]


def test_collectors() -> None:
    label = {"collector": "disk"}
    rows = [
        ("collector_success", label, 0),
        ("collector_duration_seconds", label, 0.25),
        ("collector_timeouts_total", label, 2),
    ]
    state = CollectorState(success=False, duration=0.25, last_success=None, timeouts=2)
    assert said("collector disk", collectors={"disk": state}) == rows
    rows.append(("collector_last_success_timestamp_seconds", label, NOW))
    after = replace(state, last_success=NOW)
    assert said("collector disk", collectors={"disk": after}) == rows


def test_what_is_not_known_is_not_said() -> None:
    assert [name for name, _, _ in parts(Snapshot(known().node))] == ["connects"]
