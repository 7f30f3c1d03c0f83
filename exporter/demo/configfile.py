"""A configuration file that names the nodes of a simulated farm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from exporter.model import NodeSpec, SshEndpoint, TcpEndpoint


def write_config(specs: Sequence[NodeSpec], path: Path) -> None:
    """Write the file whole or not at all: whoever waits for it never reads a half. Blocks."""
    config: dict[str, Any] = {"nodes": [_node(spec) for spec in specs]}
    ssh = next((s.endpoint for s in specs if isinstance(s.endpoint, SshEndpoint)), None)
    if ssh is not None:
        config["ssh"] = {
            "identity_files": [str(file) for file in ssh.identity_files],
            "known_hosts": [str(file) for file in ssh.known_hosts or ()],
            "config_files": [],
        }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(yaml.safe_dump(config, sort_keys=False))
    partial.replace(path)


def _node(spec: NodeSpec) -> dict[str, Any]:
    node: dict[str, Any] = {
        "name": spec.name,
        "endpoint": spec.endpoint.url,
        "platforms": list(spec.platforms),
    }
    if spec.remote:
        node["driver"] = "remote"
    if isinstance(spec.endpoint, TcpEndpoint) and spec.endpoint.tls is not None:
        tls = spec.endpoint.tls
        node["tls"] = {"ca": str(tls.ca), "cert": str(tls.cert), "key": str(tls.key)}
    if spec.disk.node_exporter is not None:
        node["disk"] = {"node_exporter": spec.disk.node_exporter}
    return node
