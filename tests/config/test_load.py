"""Good configurations: what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter import model
from exporter.config.load import defaults, load
from exporter.errors import ConfigError
from tests.config.conftest import Place, store_node

EXAMPLE = (Path(__file__).parent / "example.yml").read_text(encoding="utf-8")
LOOSE = "every user of this machine can read this private key; chmod 600"
PRUNE = "prune: {keep_storage: 20GB, when: {cache_above: 60GB}}"


@pytest.fixture
def example(place: Place) -> Place:
    """A place where all that the documentation's example names is there."""
    place.builder("farm", "docker-container", store_node("farm0", "ssh://node9", "linux/s390x"))
    place.write("nodes.d/more.yml", "- endpoint: ssh://node7.example.com\n")
    return place


def test_the_documented_example_is_right(example: Place) -> None:
    """All nodes of the file, of node files and of the buildx store, without a remark."""
    config = example.load(EXAMPLE)
    urls = {node.name: node.endpoint.url for node in config.nodes}
    assert urls == {
        "amd64-1": "ssh://builder@node1.example.com",
        "arm64-1": "tcp://node3.example.com:2376",
        "here": "unix:///var/run/docker.sock",
        "kitd": "tcp://node4.example.com:1234",
        "node7.example.com": "ssh://node7.example.com",
        "node9": "ssh://node9",
    }
    assert [node.transport for node in config.nodes] == ["ssh", "tls", "unix", "tls", "ssh", "ssh"]
    assert config.warnings == ()


def test_the_farms_settings_reach_every_node(example: Place) -> None:
    """Nodes of all three sources are pruned as the whole farm is."""
    config = example.load(EXAMPLE)
    assert {node.prune for node in config.nodes} == {
        model.PruneSettings(
            keep_storage=model.Threshold(bytes=20_000_000_000),
            when=model.PruneTriggers(
                cache_above=model.Threshold(bytes=60_000_000_000),
                disk_free_below=model.Threshold(share=0.15),
                inodes_free_below=0.1,
                full_within=6 * 3600.0,
            ),
            critical=model.PruneCritical(model.Threshold(share=0.05), 0.03),
            wait_for_idle=600.0,
            cooldown=1800.0,
        )
    }
    assert {node.orphans_remove_after for node in config.nodes} == {7 * 86400.0}
    assert config.prune_max_parallel == 1
    assert [node.labels["farm"] for node in config.nodes] == ["ci"] * 6
    assert {node.canary for node in config.nodes} == {
        model.CanarySettings(schedule="0 */6 * * *", every=None)
    }
    assert config.canary_max_parallel == 2
    assert config.multiarch == model.MultiarchSettings(
        builder="farm",
        push="registry.example.com/canary:latest",
        cache="registry.example.com/canary:buildcache",
        schedule="0 */6 * * *",
        every=None,
        base_image="docker.io/library/busybox:stable",
        timeout=300.0,
    )


def test_without_a_prune_section_nothing_is_pruned(place: Place) -> None:
    config = place.load("nodes: [{endpoint: 'ssh://a'}]")
    (node,) = config.nodes
    assert (node.prune, node.orphans_remove_after, config.prune_max_parallel) == (None, None, 1)


def test_a_node_overrides_key_by_key(place: Place) -> None:
    """What a node does not say holds as for the whole farm."""
    config = place.load(f"""
nodes:
  - endpoint: ssh://a
    prune: {{keep_storage: 10%, when: {{disk_free_below: 20%}}, filters: [type==regular]}}
    orphans: {{remove_after: 1d}}
    collect: {{disk: 1m}}
    ssh: {{keepalive: 5s}}
    labels: {{rack: r1, site: here}}
{PRUNE}
orphans: {{remove_after: 7d}}
collect: {{cache: 5m}}
ssh: {{connect_timeout: 3s, identity_files: [id_ed25519]}}
alerting: {{labels: {{farm: ci, site: there}}}}
""")
    (node,) = config.nodes
    assert node.prune == model.PruneSettings(
        keep_storage=model.Threshold(share=0.1),
        when=model.PruneTriggers(
            cache_above=model.Threshold(bytes=60_000_000_000),
            disk_free_below=model.Threshold(share=0.2),
        ),
        filters=("type==regular",),
    )
    assert node.orphans_remove_after == 86400.0
    assert node.collect == model.CollectSettings(disk=60.0, cache=300.0)
    assert node.endpoint == model.SshEndpoint(
        "a", identity_files=(place.root / "id_ed25519",), connect_timeout=3.0, keepalive=5.0
    )
    assert node.labels == {"farm": "ci", "site": "here", "rack": "r1"}


def test_a_node_switches_off(place: Place) -> None:
    """``false`` at a node: no prune, no canary, no removal, whatever holds for the others."""
    config = place.load(f"""
nodes:
  - {{endpoint: "ssh://a", prune: false, canary: false, orphans: false}}
  - {{endpoint: "ssh://b"}}
{PRUNE}
canary: {{every: 1h}}
orphans: {{remove_after: 7d}}
""")
    a, b = config.nodes
    assert (a.prune, a.orphans_remove_after) == (None, None)
    assert b.prune is not None
    assert (a.canary, b.canary) == (None, model.CanarySettings(every=3600.0))


def test_a_node_takes_one_trigger_away(place: Place) -> None:
    """An empty value at a node undoes the whole farm's."""
    config = place.load("""
nodes: [{endpoint: "ssh://a", prune: {when: {cache_above: }}}]
prune: {keep_storage: 20GB, when: {cache_above: 60GB, disk_free_below: 10%}}
""")
    assert config.nodes[0].prune is not None
    assert config.nodes[0].prune.when == model.PruneTriggers(
        disk_free_below=model.Threshold(share=0.1)
    )


def test_one_node_alone_is_pruned(place: Place) -> None:
    config = place.load(f"nodes: [{{endpoint: 'ssh://a', {PRUNE}}}, {{endpoint: 'ssh://b'}}]")
    assert [node.prune is not None for node in config.nodes] == [True, False]


def test_a_nodes_calendar_replaces_the_farms(place: Place) -> None:
    """``every`` at a node and ``schedule`` at the top are two ways to say one thing."""
    config = place.load("""
nodes: [{endpoint: "ssh://a", canary: {every: 1h}}]
canary: {schedule: "@daily"}
""")
    assert config.nodes[0].canary == model.CanarySettings(schedule=None, every=3600.0)


def test_without_a_file_the_users_own_nodes_are_watched_read_only(place: Place) -> None:
    """The nodes of the current buildx builder; no prune, no removal."""
    place.builder("farm", "docker-container", store_node("farm0", "ssh://node9"))
    environ = {"BUILDX_BUILDER": "farm", "XDG_STATE_HOME": "/state"}
    config = defaults(environ=environ, hostname="here", home=place.home)
    found = {node.name: node for node in config.nodes if node.transport == "ssh"}
    assert list(found) == ["node9"]
    assert (found["node9"].prune, found["node9"].orphans_remove_after) == (None, None)
    assert config.storage_url == "sqlite:////state/buildfarm-exporter/history.db"
    assert found["node9"].canary is None


def test_a_file_that_is_not_there(place: Place) -> None:
    path = place.root / "nope.yml"
    with pytest.raises(ConfigError) as caught:
        load(path, environ={}, hostname="here", home=place.home)
    assert caught.value.problems == [f"{path}: no such file"]


def test_remarks_on_what_is_odd(place: Place) -> None:
    """Nothing of it keeps the daemon from starting."""
    place.write("loose", (place.root / "id_ed25519").read_text()).chmod(0o644)
    assert place.warnings("""
nodes: []
node_files: [nodes.d/*.yml]
ssh: {identity_files: [loose]}
""") == [
        "farm.yml:2: nodes: no node is configured; there is nothing to watch",
        "farm.yml:3: node_files[0]: no file matches this pattern (yet)",
        f"farm.yml:4: ssh.identity_files[0]: {LOOSE}",
    ]
