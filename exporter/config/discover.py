"""Which nodes a user already has: in the buildx store, in Docker contexts, on this machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.config.buildx import Store, node_of_context, same_endpoint_once
from exporter.config.contexts import DEFAULT, Context, StoreError
from exporter.config.nodes import unique_name
from exporter.config.render import to_yaml
from exporter.model import NodeSpec, UnixEndpoint

__all__ = ["Discovered", "default_nodes", "discover", "home_directory", "to_yaml"]

LOCAL_SOCKET = Path("/var/run/docker.sock")


@dataclass(frozen=True, slots=True)
class Discovered:
    """Nodes with names that are unique among them, and one line for each that was left out."""

    nodes: tuple[NodeSpec, ...] = ()
    notes: tuple[str, ...] = ()


def home_directory(environ: Mapping[str, str]) -> Path:
    """The user's home as the environment says."""
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - may not raise


def discover(
    environ: Mapping[str, str], hostname: str, home: Path, *, socket: Path = LOCAL_SOCKET
) -> Discovered:
    """The nodes of all buildx builders and of all Docker contexts. Never raises for what is there.

    ``hostname`` names the node behind a unix socket, ``socket`` is this machine's own Engine.
    """
    search = _Search(environ, hostname, home, socket)
    for name in search.store.names():
        search.builder(name)
    names, notes = search.store.contexts.names()
    search.notes += notes
    for name in names:
        search.context(name)
    if environ.get("DOCKER_HOST"):
        search.context(DEFAULT)
    search.local()
    return search.result()


def default_nodes(
    environ: Mapping[str, str], hostname: str, home: Path, *, socket: Path = LOCAL_SOCKET
) -> Discovered:
    """What is watched without a configuration: the current builder's nodes and the local Engine."""
    search = _Search(environ, hostname, home, socket)
    try:
        search.builder(search.store.current())
    except StoreError as error:
        search.notes.append(str(error))
    search.local()
    return search.result()


class _Search:
    def __init__(self, environ: Mapping[str, str], hostname: str, home: Path, socket: Path) -> None:
        self.store = Store(environ, hostname, home)
        self.notes: list[str] = []
        self._nodes: list[NodeSpec] = []
        self._hostname = hostname
        self._socket = socket

    def builder(self, name: str) -> None:
        try:
            found = self.store.builder(name)
        except (StoreError, ValueError) as error:
            self.notes.append(str(error))
            return
        self._nodes += found.nodes
        self.notes += [*found.notes, *found.problems]

    def context(self, name: str) -> None:
        try:
            context = self.store.contexts.get(name)
            self._nodes.append(node_of_context(context, self._hostname))
        except StoreError as error:
            self.notes.append(str(error))
        except ValueError as error:
            self.notes.append(f"Docker context '{name}': {error}")
        else:
            self.notes += [context.note] if context.note else []

    def local(self) -> None:
        if self._socket.is_socket():
            context = Context(DEFAULT, f"unix://{self._socket}")
            self._nodes.append(node_of_context(context, self._hostname))

    def result(self) -> Discovered:
        nodes: list[NodeSpec] = []
        for node in same_endpoint_once(self._nodes):
            if isinstance(node.endpoint, UnixEndpoint) and not Path(node.endpoint.path).is_socket():
                self.notes.append(f"left out {node.endpoint.url}: there is no socket")
                continue
            name = unique_name(node, {known.name for known in nodes})
            nodes.append(dataclasses.replace(node, name=name))
        return Discovered(tuple(nodes), tuple(dict.fromkeys(self.notes)))
