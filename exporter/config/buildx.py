"""The buildx store: which builders there are, and on which nodes.

``$BUILDX_CONFIG``, else ``$DOCKER_CONFIG/buildx``, else ``~/.docker/buildx``. Each file in
``instances`` is a builder as JSON; ``current`` and ``defaults`` say which one is used. Only read,
never locked or written.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.config.contexts import (
    DEFAULT,
    Context,
    Contexts,
    StoreError,
    checked_tls,
    docker_directory,
    read_json,
)
from exporter.config.endpoints import parse_address
from exporter.model import BuildxBuilder, BuildxNode, NodeSpec, TlsFiles
from exporter.platforms import normalise_platform

__all__ = ["BUILDER_NAME", "Found", "Store", "StoreError", "node_of_context", "same_endpoint_once"]

BUILDER_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9._+-]*", re.ASCII)
_ENGINE_DRIVERS = ("", "docker", "docker-container")
# Of the remote driver: reached through another program, which this exporter does not start.
_INDIRECT = ("docker-container://", "kube-pod://", "podman-container://", "npipe://")


@dataclass(frozen=True, slots=True)
class Found:
    """Nodes, what was left out of them, and what is wrong with the rest."""

    nodes: tuple[NodeSpec, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class _LeftOut(Exception):  # noqa: N818 - nothing is wrong
    """A node that can't be watched, by no one's fault."""


class Store:
    """Reads the builders of one user."""

    def __init__(self, environ: Mapping[str, str], hostname: str, home: Path) -> None:
        self.contexts = Contexts(environ, home)
        self._environ = environ
        self._hostname = hostname
        self._root = Path(
            environ.get("BUILDX_CONFIG") or docker_directory(environ, home) / "buildx"
        )

    def names(self) -> list[str]:
        """The names of all builders that `docker buildx create` made."""
        try:
            return sorted(
                path.name for path in (self._root / "instances").iterdir() if path.is_file()
            )
        except OSError:
            return []

    def current(self) -> str:
        """The name of the builder, or Docker context, that `docker buildx build` would use now.

        Raises:
            StoreError: if a file that says so can't be read.
        """
        if name := self._environ.get("BUILDX_BUILDER"):
            return name
        context = self.contexts.current()
        key = context if context != DEFAULT else self.contexts.get(DEFAULT).host
        path = self._root / "current"
        if path.exists():
            current = read_json(path, "the buildx store's 'current'")
            name = current.get("Name")
            fits = current.get("Global") is True or current.get("Key") == key
            if isinstance(name, str) and name and fits and self._known(name):
                return name
        digest = hashlib.sha256(key.encode()).hexdigest()[:20]
        try:
            name = (self._root / "defaults" / digest).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            name = ""
        return name if name and self._known(name) else context

    def builder(self, name: str) -> Found:
        """The nodes of a builder. As in buildx, a Docker context is a builder, too.

        Raises:
            StoreError: if there is no such builder, or its file can't be read.
        """
        if not self._known(name):
            names, _ = self.contexts.names()
            if name != DEFAULT and name not in names:
                there = [*self.names(), DEFAULT, *names]
                raise StoreError(f"no builder '{name}'; there are: {', '.join(there)}")
            context = self.contexts.get(name)
            node = node_of_context(context, self._hostname)
            node = dataclasses.replace(node, builders=("docker",))
            return Found((node,), (context.note,) if context.note else ())
        group = read_json(self._root / "instances" / name.lower(), f"builder '{name}'")
        driver = group.get("Driver") or ""
        entries = group.get("Nodes")
        if not isinstance(driver, str) or not isinstance(entries, list):
            raise StoreError(f"builder '{name}': not the file of a builder")
        if driver != "remote" and driver not in _ENGINE_DRIVERS:
            return Found(notes=(f"builder '{name}': left out, its driver is {driver}",))
        nodes: list[NodeSpec] = []
        notes: list[str] = []
        problems: list[str] = []
        for entry in entries:
            what = f"builder '{name}', node '{_text(entry, 'Name')}'"
            try:
                node, note = self._node(entry, driver, what)
                nodes.append(node)
                notes += [note] if note else []
            except _LeftOut as error:
                notes.append(f"{what}: left out, {error}")
            except (StoreError, ValueError) as error:
                text = str(error)
                problems.append(text if text.startswith(what) else f"{what}: {text}")
        return Found(tuple(same_endpoint_once(nodes)), tuple(notes), tuple(problems))

    def group(self, name: str) -> BuildxBuilder | None:
        """A builder as it is stored; ``None`` if `docker buildx create` made none of this name.

        Raises:
            StoreError: if its file can't be read.
        """
        if not self._known(name):
            return None
        what = f"builder '{name}'"
        group = read_json(self._root / "instances" / name.lower(), what)
        driver = _text(group, "Driver")
        try:
            nodes = tuple(self._stored(entry, driver) for entry in group["Nodes"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{what}: not the file of a builder") from error
        return BuildxBuilder(_text(group, "Name"), driver, nodes)

    def _stored(self, entry: Any, driver: str) -> BuildxNode:
        try:
            spec, _ = self._node(entry, driver, f"node '{_text(entry, 'Name')}'")
        except (_LeftOut, StoreError, ValueError):
            spec = None
        return BuildxNode(
            name=entry["Name"],
            endpoint=entry["Endpoint"],
            platforms=_platforms(entry.get("Platforms")),
            options=dict(entry.get("DriverOpts") or {}),
            flags=tuple(entry.get("Flags") or ()),
            files={
                name: base64.b64decode(data) for name, data in (entry.get("Files") or {}).items()
            },
            spec=spec,
        )

    def _known(self, name: str) -> bool:
        return (
            bool(BUILDER_NAME.fullmatch(name))
            and (self._root / "instances" / name.lower()).is_file()
        )

    def _node(self, entry: Any, driver: str, what: str) -> tuple[NodeSpec, str | None]:
        endpoint, name = _text(entry, "Endpoint"), _text(entry, "Name")
        if not endpoint or not name:
            raise StoreError("has no name or no endpoint")
        platforms = _platforms(entry.get("Platforms"))
        if driver == "remote":
            if endpoint.startswith(_INDIRECT):
                raise _LeftOut(f"its endpoint is {endpoint.partition('//')[0]}//")
            tls = _remote_tls(entry.get("DriverOpts"), what)
            context = Context(name, endpoint, tls)
            builder = "buildkitd"
        else:
            context = self._context(endpoint)
            if context.host.startswith(("npipe://", "fd://")):
                raise _LeftOut(f"its endpoint is {context.host.partition('//')[0]}//")
            builder = name if driver == "docker-container" else "docker"
        node = node_of_context(context, self._hostname, remote=driver == "remote")
        return dataclasses.replace(node, platforms=platforms, builders=(builder,)), context.note

    def _context(self, endpoint: str) -> Context:
        """What an endpoint of the store stands for: an address, or the name of a context."""
        if "://" not in endpoint:
            return self.contexts.get(endpoint)
        if endpoint == self._environ.get("DOCKER_HOST"):
            return self.contexts.get(DEFAULT)
        return Context(endpoint, endpoint)


def node_of_context(context: Context, hostname: str, *, remote: bool = False) -> NodeSpec:
    """The node that a context points to.

    Raises:
        ValueError: if its address is none that can be watched.
    """
    address = parse_address(context.host)
    endpoint = address.endpoint(tls=context.tls, remote=remote)
    return NodeSpec(name=address.host or hostname, endpoint=endpoint, remote=remote)


def same_endpoint_once(nodes: Iterable[NodeSpec]) -> list[NodeSpec]:
    """One node per endpoint, with all its builders and platforms, in the order of appearance."""
    once: dict[tuple[str, bool], NodeSpec] = {}
    for node in nodes:
        key = (node.endpoint.url.lower(), node.remote)
        known = once.setdefault(key, node)
        if known is node:
            continue
        builders = (*(known.builders or ()), *(node.builders or ()))
        once[key] = dataclasses.replace(
            known,
            builders=tuple(dict.fromkeys(builders)) or None,
            platforms=tuple(dict.fromkeys((*known.platforms, *node.platforms))),
        )
    return list(once.values())


def _text(entry: Any, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) else ""


def _platforms(entries: Any) -> tuple[str, ...]:
    platforms: dict[str, None] = {}
    for entry in entries if isinstance(entries, list) else ():
        # Stores of old buildx have text here.
        text = entry if isinstance(entry, str) else ""
        if isinstance(entry, dict):
            parts = (_text(entry, key) for key in ("os", "architecture", "variant"))
            text = "/".join(part for part in parts if part)
        platforms[normalise_platform(text)] = None
    return tuple(platforms)


def _remote_tls(options: Any, what: str) -> TlsFiles | None:
    values = {
        key: value
        for key in ("cacert", "cert", "key", "servername")
        if (value := _text(options, key))
    }
    if not values:
        return None
    paths = {key: Path(value) for key, value in values.items() if key != "servername"}
    tls = TlsFiles(
        paths.get("cacert"), paths.get("cert"), paths.get("key"), values.get("servername")
    )
    return checked_tls(tls, what)
