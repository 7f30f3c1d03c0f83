"""From the entries of a file to nodes: names, overrides, endpoints, and nothing twice."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from exporter import model
from exporter.config import files
from exporter.config.actions import CanarySettings, PruneSettings
from exporter.config.endpoints import parse_address
from exporter.config.fields import Section
from exporter.config.merge import merge, without_nulls
from exporter.config.problems import Loc, Page
from exporter.config.schema import NodeEntry
from exporter.config.sections import CollectSettings, SshSettings, TlsSettings
from exporter.config.substitute import Unset
from exporter.config.validate import validate

_OVERRIDES: dict[str, type[Section]] = {
    "ssh": SshSettings,
    "collect": CollectSettings,
    "prune": PruneSettings,
    "canary": CanarySettings,
}


@dataclass(slots=True)
class Farm:
    """Gathers nodes and the settings that hold for each."""

    top: dict[str, Any]
    """The file's top level as it was written, for nodes to override."""
    places: files.Places
    hostname: str
    top_problems: frozenset[tuple[Loc, str]]
    """What was found wrong with the top level: not to be told again for each node."""
    nodes: list[model.NodeSpec] = field(default_factory=list)
    prune: dict[str, PruneSettings] = field(default_factory=dict)
    canary: dict[str, CanarySettings] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _endpoints: dict[tuple[str, bool], str] = field(default_factory=dict)

    def add_entry(self, raw: Any, loc: Loc, page: Page) -> None:
        """Check one entry of a list of nodes, and take it in if it is right."""
        if not isinstance(raw, dict):
            page.problem(loc, "must be a mapping (endpoint: …)")
            return
        entry, problems = validate(NodeEntry, without_nulls(raw), self.places, loc)
        for at, message in problems:
            page.problem(at, message)
        settings = self._settings(raw, loc, page, frozenset(problems))
        self._unique(raw, loc, page)
        if entry is None or any(value is None for value in settings.values()):
            return
        spec = self._spec(entry, settings)
        self.nodes.append(spec)
        for key, kept in (("prune", self.prune), ("canary", self.canary)):
            if key in settings:
                kept[spec.name] = settings[key]
        _warn_of_keys(spec.endpoint, entry, loc, page)

    def add_found(self, found: model.NodeSpec, loc: Loc, page: Page) -> None:
        """Take in a node of the buildx store, unless the file has an entry for its endpoint."""
        for i, known in enumerate(self.nodes):
            if _same(known) == _same(found):
                if known.builders is None:
                    self.nodes[i] = dataclasses.replace(known, builders=found.builders)
                return
        settings = self._settings({}, loc, page, frozenset())
        ssh, collect = settings.get("ssh"), settings.get("collect")
        if any(value is None for value in settings.values()):
            return
        name = unique_name(found, {node.name for node in self.nodes})
        spec = dataclasses.replace(
            found,
            name=name,
            endpoint=_with_ssh(found.endpoint, ssh or SshSettings()),
            collect=_collect(collect or CollectSettings()),
        )
        self.nodes.append(spec)
        for key, kept in (("prune", self.prune), ("canary", self.canary)):
            if key in settings:
                kept[name] = settings[key]

    def _settings(
        self, raw: dict[str, Any], loc: Loc, page: Page, told: frozenset[tuple[Loc, str]]
    ) -> dict[str, Any]:
        """The sections that hold for a node. ``None`` stands for one that is wrong."""
        settings: dict[str, Any] = {}
        for key, section in _OVERRIDES.items():
            own = raw.get(key)
            if own is False or (own is not None and not isinstance(own, dict)):
                continue
            merged = merge(self.top.get(key), own) if own is not None else self.top.get(key)
            if merged is None and section in (PruneSettings, CanarySettings):
                continue
            clean = without_nulls(merged if isinstance(merged, dict) else {})
            settings[key], problems = validate(section, clean, self.places, (key,))
            for at, message in problems:
                below = (*loc, *at)
                if (at, message) not in self.top_problems and (below, message) not in told:
                    page.problem(below, message)
        return settings

    def _spec(self, entry: NodeEntry, settings: dict[str, Any]) -> model.NodeSpec:
        address = parse_address(entry.endpoint)
        remote = entry.driver == "remote"
        tls = _tls_files(entry.tls) if isinstance(entry.tls, TlsSettings) else None
        return model.NodeSpec(
            name=entry.name or address.host or self.hostname,
            endpoint=_with_ssh(address.endpoint(tls=tls, remote=remote), settings["ssh"]),
            remote=remote,
            platforms=tuple(dict.fromkeys(entry.platforms)),
            builders=entry.builders,
            disk=model.DiskSettings(entry.disk.path, entry.disk.node_exporter),
            collect=_collect(settings["collect"]),
            labels=MappingProxyType(dict(entry.labels)),
        )

    def _unique(self, raw: dict[str, Any], loc: Loc, page: Page) -> None:
        """Complain of a name or an endpoint that is there already, whatever else is wrong."""
        endpoint = raw.get("endpoint")
        if not isinstance(endpoint, str) or isinstance(endpoint, Unset):
            return
        remote = raw.get("driver") == "remote"
        try:
            address = parse_address(endpoint)
        except ValueError:
            return
        name, name_loc = raw.get("name"), (*loc, "name")
        if not isinstance(name, str) or not name:
            name, name_loc = address.host or self.hostname, (*loc, "endpoint")
        here = f"on line {page.line(loc)} of {page.file}"
        tls = model.TlsFiles() if isinstance(raw.get("tls"), dict) else None
        key = (address.endpoint(tls=tls, remote=remote).url.lower(), remote)
        if key in self._endpoints:
            page.problem(
                (*loc, "endpoint"), f"the node {self._endpoints[key]} has the same endpoint"
            )
        elif name in self._names:
            hint = "" if name_loc[-1] == "name" else ", its host; give this node a 'name'"
            page.problem(name_loc, f"the node {self._names[name]} is called '{name}' too{hint}")
        self._endpoints.setdefault(key, here)
        self._names.setdefault(name, here)


def unique_name(spec: model.NodeSpec, taken: set[str]) -> str:
    """A name like the node's that is not taken: with its port, its builder's name, or a number."""
    candidates = [spec.name]
    port = getattr(spec.endpoint, "port", None)
    if port:
        candidates.append(f"{spec.name}-{port}")
    candidates += [f"{spec.name}-{builder}" for builder in (spec.builders or ())[:1]]
    for candidate in candidates:
        if candidate not in taken:
            return candidate
    number = 2
    while f"{spec.name}-{number}" in taken:
        number += 1
    return f"{spec.name}-{number}"


def _same(spec: model.NodeSpec) -> tuple[str, bool]:
    return spec.endpoint.url.lower(), spec.remote


def _tls_files(tls: TlsSettings) -> model.TlsFiles:
    return model.TlsFiles(tls.ca, tls.cert, tls.key, tls.server_name)


def _collect(settings: CollectSettings) -> model.CollectSettings:
    return model.CollectSettings(**settings.model_dump())


def _with_ssh(endpoint: model.Endpoint, ssh: SshSettings) -> model.Endpoint:
    if not isinstance(endpoint, model.SshEndpoint):
        return endpoint
    return dataclasses.replace(
        endpoint,
        identity_files=ssh.identity_files,
        known_hosts=ssh.known_hosts,
        config_files=ssh.config_files,
        passphrase=ssh.passphrase.get_secret_value() if ssh.passphrase else None,
        connect_timeout=ssh.connect_timeout,
        keepalive=ssh.keepalive,
    )


def _warn_of_keys(endpoint: model.Endpoint, entry: NodeEntry, loc: Loc, page: Page) -> None:
    message = "every user of this machine can read this private key; chmod 600"
    key = endpoint.tls.key if isinstance(endpoint, model.TcpEndpoint) and endpoint.tls else None
    if key is not None and files.others_can_read(key):
        page.warn((*loc, "tls", "key"), message)
    for i, path in enumerate(entry.ssh.identity_files if entry.ssh else ()):
        if files.others_can_read(path):
            page.warn((*loc, "ssh", "identity_files", i), message)
