"""Writes a configuration file that a person would like to read and edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

import yaml

from exporter.model import NodeSpec, TcpEndpoint, TlsFiles

_PLAIN = re.compile(r"[A-Za-z0-9/~][A-Za-z0-9._/@:~+-]*", re.ASCII)


class HasNodes(Protocol):
    """What can be written: nodes, and notes on what was left out of them."""

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        """The nodes, in order."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One line each."""


def to_yaml(found: HasNodes) -> str:
    """A configuration file with these nodes. Reading it gives the same nodes again."""
    return "\n".join([*_head(found), *_nodes(found.nodes), _TAIL]) + "\n"


def _head(found: HasNodes) -> Iterator[str]:
    yield "# buildfarm-exporter, made by `buildfarm-exporter discover`."
    yield "# All keys: `buildfarm-exporter schema`. Check it with `buildfarm-exporter check`."
    if found.notes:
        yield "#"
        yield "# Worth knowing:"
        for note in found.notes:
            yield f"#  - {' '.join(note.split())}"
    yield ""


def _nodes(nodes: Iterable[NodeSpec]) -> Iterator[str]:
    nodes = list(nodes)
    if not nodes:
        yield "nodes: []   # none was found; add one: - endpoint: ssh://user@host"
        return
    yield "nodes:"
    for node in nodes:
        yield f"  - name: {_scalar(node.name)}"
        yield f"    endpoint: {_scalar(node.endpoint.url)}"
        if node.remote:
            yield "    driver: remote   # a bare buildkitd, no Docker Engine"
        if isinstance(node.endpoint, TcpEndpoint):
            yield f"    tls: {_tls(node.endpoint.tls)}"
        if node.platforms:
            yield f"    platforms: {_list(node.platforms)}"
        if node.builders is not None:
            yield f"    builders: {_list(node.builders)}"


def _tls(tls: TlsFiles | None) -> str:
    if tls is None:
        return "false   # plain TCP: whoever can connect controls the machine"
    pairs = {"ca": tls.ca, "cert": tls.cert, "key": tls.key, "server_name": tls.server_name}
    inside = ", ".join(
        f"{key}: {_scalar(str(value))}" for key, value in pairs.items() if value is not None
    )
    return f"{{{inside}}}"


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_scalar(value) for value in values)}]"


def _scalar(text: str) -> str:
    """Text as YAML: bare where every YAML reader takes it for text, else in double quotes."""
    # A dollar would start a reference to the environment.
    text = text.replace("$", "$$")
    if _PLAIN.fullmatch(text) and not text.endswith(":") and yaml.safe_load(text) == text:
        return text
    return json.dumps(text, ensure_ascii=True)


_TAIL = """
# How often to look. These are the defaults.
# collect: {reachability: 15s, disk: 30s, cache: 2m, workers: 10m, orphans: 1h}

# Without this section nothing is ever pruned.
# prune:
#   keep_storage: 20GB
#   when: {cache_above: 60GB, disk_free_below: 15%, inodes_free_below: 10%}
#   dry_run: true"""
