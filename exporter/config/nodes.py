"""From the entries of a file to nodes: names, overrides, endpoints, and nothing twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from exporter import model
from exporter.config import files
from exporter.config.actions import CanarySettings, OrphanSettings, PruneSettings
from exporter.config.buildx import same_endpoint_once
from exporter.config.endpoints import parse_address
from exporter.config.fields import Section
from exporter.config.merge import merge, without_nulls
from exporter.config.problems import Loc, Page, Unset
from exporter.config.schema import NodeEntry
from exporter.config.sections import CollectSettings, SshSettings, TlsSettings
from exporter.config.units import Size
from exporter.config.validate import validate

_OVERRIDES: dict[str, type[Section]] = {
    "ssh": SshSettings,
    "collect": CollectSettings,
    "prune": PruneSettings,
    "orphans": OrphanSettings,
    "canary": CanarySettings,
}
# Sections that are off unless given; `false` switches them off for one node.
_SWITCHED = ("prune", "canary")


@dataclass(slots=True)
class Farm:
    """Gathers nodes and the settings that hold for each."""

    top: dict[str, Any]
    """The file's top level as it was written, for nodes to override."""
    places: files.Places
    hostname: str
    top_problems: frozenset[tuple[Loc, str]]
    """What was found wrong with the top level: not to be told again for each node."""
    labels: Mapping[str, str]
    """Labels of all nodes' alerts."""
    nodes: list[model.NodeSpec] = field(default_factory=list)
    _found: set[str] = field(default_factory=set)
    """Names of nodes that only the buildx store knows."""
    _selected: set[str] = field(default_factory=set)
    """Names of nodes of the file that leave it to the store which builders are selected."""
    _names: dict[str, str] = field(default_factory=dict)
    _endpoints: dict[tuple[str, bool], str] = field(default_factory=dict)

    def add_entry(self, raw: Any, loc: Loc, page: Page) -> None:
        """Check one entry of a list of nodes, and take it in if it is right."""
        if isinstance(raw, Unset):
            return
        if not isinstance(raw, dict):
            page.problem(loc, "must be a mapping (endpoint: …)")
            return
        entry, problems = validate(NodeEntry, without_nulls(raw), self.places, loc)
        for at, message in problems:
            page.problem(at, message)
        for key in _SWITCHED:
            if key in raw and raw[key] is None:
                page.problem((*loc, key), "is empty; say what to change, or false to switch it off")
        settings = self._settings(raw, loc, page, frozenset(problems))
        self._unique(raw, loc, page)
        if entry is None or any(value is None for value in settings.values()):
            return
        spec = self._spec(entry)
        self._take(spec, settings)
        _warn_of_keys(spec.endpoint, entry, loc, page)

    def add_found(self, found: model.NodeSpec, loc: Loc, page: Page) -> None:
        """Take in a node of the buildx store, unless the file has an entry for its endpoint."""
        for i, known in enumerate(self.nodes):
            if _same(known) == _same(found):
                self.nodes[i] = self._with_found(known, found)
                return
        settings = self._settings({}, loc, page, frozenset())
        if any(value is None for value in settings.values()):
            return
        name = unique_name(found, {node.name for node in self.nodes})
        self._take(dataclasses.replace(found, name=name), settings)
        self._found.add(name)

    def _with_found(self, known: model.NodeSpec, found: model.NodeSpec) -> model.NodeSpec:
        """What is known of a node, and what the store knows of it that the file does not say."""
        both = same_endpoint_once((known, found))[0]
        if known.name in self._found:
            return both
        if known.builders is None:
            self._selected.add(known.name)
        selected = both.builders if known.name in self._selected else known.builders
        return dataclasses.replace(known, builders=selected)

    def _take(self, spec: model.NodeSpec, settings: dict[str, Any]) -> None:
        """Take a node in, with the settings that hold for it."""
        prune: PruneSettings | None = settings.get("prune")
        orphans: OrphanSettings | None = settings.get("orphans")
        canary: CanarySettings | None = settings.get("canary")
        self.nodes.append(
            dataclasses.replace(
                spec,
                endpoint=_with_ssh(spec.endpoint, settings["ssh"]),
                collect=model.CollectSettings(**settings["collect"].model_dump()),
                labels=MappingProxyType({**self.labels, **spec.labels}),
                prune=_prune(prune) if prune else None,
                orphans_remove_after=orphans.remove_after if orphans else None,
                canary=_canary(canary) if canary else None,
            )
        )

    def _settings(
        self, raw: dict[str, Any], loc: Loc, page: Page, told: frozenset[tuple[Loc, str]]
    ) -> dict[str, Any]:
        """The sections that hold for a node. ``None`` stands for one that is wrong."""
        settings: dict[str, Any] = {}
        for key, section in _OVERRIDES.items():
            own = raw.get(key)
            if own is not None and not isinstance(own, dict):
                continue  # false, or a mistake that is told of already
            merged = merge(self.top.get(key), own) if own is not None else self.top.get(key)
            if merged is None and key in _SWITCHED:
                continue
            clean = without_nulls(merged if isinstance(merged, dict) else {})
            settings[key], problems = validate(section, clean, self.places, (key,))
            for at, message in problems:
                below = (*loc, *at)
                if (at, message) not in self.top_problems and (below, message) not in told:
                    page.problem(below, message)
        return settings

    def _spec(self, entry: NodeEntry) -> model.NodeSpec:
        address = parse_address(entry.endpoint)
        remote = entry.driver == "remote"
        tls = entry.tls.files() if isinstance(entry.tls, TlsSettings) else None
        return model.NodeSpec(
            name=entry.name or address.host or self.hostname,
            endpoint=address.endpoint(tls=tls, remote=remote),
            remote=remote,
            platforms=tuple(dict.fromkeys(entry.platforms)),
            builders=entry.builders,
            disk=model.DiskSettings(entry.disk.path, entry.disk.node_exporter),
            labels=entry.labels,
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


def _prune(settings: PruneSettings) -> model.PruneSettings:
    keep, when, critical = settings.keep_storage, settings.when, settings.critical
    return model.PruneSettings(
        keep_storage=threshold(keep),
        when=model.PruneTriggers(
            cache_above=_threshold(when.cache_above),
            disk_free_below=_threshold(when.disk_free_below),
            inodes_free_below=_share(when.inodes_free_below),
            full_within=when.full_within,
        ),
        critical=model.PruneCritical(
            disk_free_below=_threshold(critical.disk_free_below),
            inodes_free_below=_share(critical.inodes_free_below),
        ),
        wait_for_idle=settings.wait_for_idle,
        cooldown=settings.cooldown,
        all=settings.all,
        filters=settings.filters,
        dry_run=settings.dry_run,
    )


def _canary(settings: CanarySettings) -> model.CanarySettings:
    return model.CanarySettings(
        schedule=settings.schedule,
        every=settings.interval,
        base_image=settings.base_image,
        cpu=settings.workload.cpu.bytes or 0,
        disk=settings.workload.disk.bytes or 0,
        timeout=settings.timeout,
        skip_while_building=settings.skip_while_building,
    )


def multiarch(settings: CanarySettings | None) -> model.MultiarchSettings | None:
    """The build over the whole farm; ``None``: there is to be none."""
    if settings is None or settings.multiarch is None:
        return None
    return model.MultiarchSettings(
        builder=settings.multiarch.builder,
        push=settings.multiarch.push,
        cache=settings.multiarch.cache,
        schedule=settings.schedule,
        every=settings.interval,
        base_image=settings.base_image,
        timeout=settings.timeout,
    )


def threshold(size: Size) -> model.Threshold:
    """A size as it was written, for the rest of the exporter."""
    return model.Threshold(size.bytes, _share(size))


def _threshold(size: Size | None) -> model.Threshold | None:
    return threshold(size) if size else None


def _share(size: Size | None) -> float | None:
    return size.percent / 100 if size and size.percent is not None else None


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
