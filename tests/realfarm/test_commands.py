"""The commands of ``buildfarm-exporter`` on real nodes."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.realfarm import breaking
from tests.realfarm.daemon import COMMAND, Daemon, Scrape
from tests.realfarm.farm import Farm
from tests.realfarm.shell import run, wait_for
from tests.realfarm.watching import LAST_SUCCESS, failure

LAYERS = {"transport", "engine", "buildkit"}

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def env(farm: Farm, tmp_path: Path) -> dict[str, str]:
    """The environment of a user of the farm's builders, with a key in the SSH configuration."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "config").write_text(
        f"Host *\n  IdentityFile {farm.client.key('full')}\n  IdentitiesOnly yes\n"
    )
    (ssh / "known_hosts").write_bytes(farm.client.known_hosts.read_bytes())
    own = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "COLUMNS": "200"}
    return farm.client.env | own


def _exporter(env: dict[str, str], *argv: str, config: Any = None) -> Done:
    """Run a command of the exporter."""
    folder = Path(env["HOME"])
    if config is not None:
        file = folder / "exporter.yml"
        file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        argv += (f"--config={file}",)
    return run([COMMAND, *argv], env=env, cwd=folder, check=False, timeout=90)


def test_check_of_a_farm_that_is_well(farm: Farm, env: dict[str, str]) -> None:
    """Each node is told layer by layer; exit code 0."""
    done = _exporter(env, "check", config=farm.config())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "All 5 nodes well." in done.stdout
    for name, node in farm.nodes.items():
        part = done.stdout.partition(f"\n{name}  {node.endpoint}\n")[2].partition("\n\n")[0]
        told = re.findall(r"^  (\w+) +ok", part, re.MULTILINE)
        assert LAYERS & set(told) == LAYERS - ({"engine"} if name == "kitd" else set())
        assert {"workers", "disk", "cache"} < set(told)
        assert node.truth.version() in part
        assert node.root in part


def _wrong_key(config: dict[str, Any]) -> None:
    config["ssh"]["identity_files"] = [
        path.replace("full", "stranger") for path in config["ssh"]["identity_files"]
    ]


def _wrong_user(config: dict[str, Any]) -> None:
    config["nodes"][0]["endpoint"] = config["nodes"][0]["endpoint"].replace("root@", "visitor@")


def _wrong_name(config: dict[str, Any]) -> None:
    config["nodes"][0]["endpoint"] = "ssh://root@gone.invalid"


def _same(config: dict[str, Any]) -> None:
    del config


ROWS: list[tuple[str, Callable[..., None], breaking.Fault | None, str, str]] = [
    ("new", _wrong_key, None, "transport", "auth: .* -> Put our public key into .*authorized_keys"),
    ("new", _wrong_name, None, "transport", "dns: .* -> Check the host's name"),
    ("new", _wrong_user, None, "engine", "permission: .* -> Add the user to the group"),
    ("new", _same, breaking.sshd_stopped, "transport", "refused: .* -> Nothing listens .* sshd"),
    ("new", _same, breaking.host_key_changed, "transport", "host_key: .* ssh-keygen -R "),
    ("new", _same, lambda f, n: n.builder_stopped(), "buildkit", "buildkit: .*docker ps --all"),
    ("old", _same, lambda f, n: n.engine.stopped(), "engine", "engine: .*systemctl status docker"),
    ("tls", _same, breaking.foreign, "transport", "tls: .*openssl s_client -connect .*tls.ca"),
]


@pytest.mark.parametrize(
    ("name", "change", "fault", "layer", "told"),
    ROWS,
    ids=[f"{row[0]}-{row[4].partition(':')[0]}" for row in ROWS],
)
def test_check_with_a_fault(
    farm: Farm,
    env: dict[str, str],
    name: str,
    change: Callable[..., None],
    fault: breaking.Fault | None,
    layer: str,
    told: str,
) -> None:
    """What fails is named, with what to do about it; exit code 1."""
    config = farm.config(name)
    change(config)
    broken: AbstractContextManager[None] = fault(farm, farm[name]) if fault else nullcontext()
    with broken:
        done = _exporter(env, "check", config=config)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf" {layer} +FAIL {told}", said), done.stdout
    assert said.endswith(f" with failures: {name}")
    assert "Traceback" not in done.stderr


def test_status(farm: Farm, env: dict[str, str]) -> None:
    """A row a node: state, platforms, disk, builder and cache; exit code 0 even if one is down."""
    with farm["new"].builder_stopped():
        done = _exporter(env, "status", config=farm.config())
    assert done.returncode == 0, done.stderr
    table, _, notes = done.stdout.partition("\n\n")
    rows = {line.split()[0]: line for line in table.splitlines()[1:]}
    assert rows.keys() == farm.nodes.keys()
    for name, row in rows.items():
        node = farm[name]
        if name == "new":
            assert re.match(r"new +buildkit ", row)
        else:
            free = f"{node.truth.file_system().available_bytes / (1 << 30):.1f} GiB"
            assert re.match(rf"{name} +up +amd64 .* {free} .* {node.builders[-1]} ", row)
    assert re.search(r"^new +buildkit: buildkit: .*farm0 does not run", notes, re.MULTILINE)


def test_discovered_configuration_is_well(farm: Farm, env: dict[str, str]) -> None:
    """``discover`` finds the nodes in the real buildx store, and its file passes ``check``."""
    found = _exporter(env, "discover")
    assert found.returncode == 0, found.stderr
    config = yaml.safe_load(found.stdout)
    nodes = {node["endpoint"]: node for node in config["nodes"]}
    assert nodes.keys() == {farm[name].endpoint for name in ("new", "tls", "local", "kitd")}
    assert len(nodes) == len(config["nodes"])
    # The one thing that nobody could find out, and which is asked for.
    without = _exporter(env, "check", config=config)
    assert without.returncode == 1
    assert re.findall(r"^  (\w+) +FAIL .*", without.stdout, re.MULTILINE) == ["disk"]
    assert "set disk.node_exporter" in without.stdout
    nodes[farm["kitd"].endpoint]["disk"] = farm["kitd"].config()["disk"]
    done = _exporter(env, "check", config=config)
    assert done.returncode == 0, done.stdout + done.stderr


def test_daemon_without_configuration(env: dict[str, str], tmp_path: Path) -> None:
    """It watches the nodes of the user's current builder, as buildx's own store has them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    env["BUILDX_BUILDER"] = "farm"
    argv = [str(COMMAND), f"--web.listen-address={listen}", "--log.format=json"]
    with (tmp_path / "log").open("ab") as log:
        process = subprocess.Popen(
            argv, env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    exporter = Daemon(process, int(listen.rpartition(":")[2]), tmp_path, tmp_path / "log")
    try:
        wait_for("the exporter", lambda: _ready(exporter), why=exporter.said)
        scrape = exporter.wait("farm0", lambda s: s.all("buildfarm_builder_info", builder="farm0"))
        (node,) = {dict(labels)["node"] for labels in scrape.all("buildfarm_node_up")}
        assert failure(scrape, node) is None
        assert exporter.stop() == 0
    finally:
        process.kill()
        process.wait(10)


def _ready(exporter: Daemon) -> bool:
    try:
        return exporter.get("/-/ready", timeout=5)[0] == 200
    except OSError:
        return False


def test_ends_soon_with_hung_nodes(farm: Farm, daemon: Callable[..., Daemon]) -> None:
    """SIGTERM ends it well while nodes hang in every way, long before any look would time out."""
    collect = {"reachability": "1s", "disk": "1s", "cache": "1s", "timeout": "60s"}
    exporter = daemon(farm.config(collect=collect))

    def all_wait(scrape: Scrape) -> bool:
        ends = scrape.all(LAST_SUCCESS, collector="reachability").values()
        return max(ends) < time.time() - 3

    with (
        farm["old"].engine.paused(),
        farm["new"].network.silent(),
        farm["tls"].engine.paused(),
        farm["local"].engine.paused(),
        farm["kitd"].network.silent(),
    ):
        exporter.wait("every look to hang", all_wait)
        assert exporter.stop(timeout=15) == 0
