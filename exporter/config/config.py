"""The configuration as the rest of the exporter sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from exporter.config.actions import CanarySettings, Multiarch, PruneSettings
from exporter.config.alerts import AlertingSettings
from exporter.config.schema import ConfigFile
from exporter.config.sections import LogSettings, StorageSettings
from exporter.model import NodeSpec


def _nothing() -> Mapping[str, PruneSettings]:
    return MappingProxyType({})


def _none() -> Mapping[str, CanarySettings]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. Immutable: a reload makes a new one."""

    nodes: tuple[NodeSpec, ...]
    """All nodes, from the file, from node files and from the buildx store, names unique."""
    file: ConfigFile = field(default_factory=ConfigFile)
    """The file as it was written, defaults filled in."""
    prune: Mapping[str, PruneSettings] = field(default_factory=_nothing)
    """What holds for a node, by its name. A node that is never pruned is not in it."""
    canary: Mapping[str, CanarySettings] = field(default_factory=_none)
    """What holds for a node, by its name. A node without canary builds is not in it."""
    warnings: tuple[str, ...] = ()
    """What is odd but can be used, one line each."""
    path: Path | None = None
    """The configuration file; ``None`` if there is none."""
    node_files: tuple[Path, ...] = ()
    """The files that matched ``node_files``."""
    node_globs: tuple[str, ...] = ()
    """``node_files`` as absolute patterns: what to watch for new files."""

    @property
    def log(self) -> LogSettings:
        """How to log."""
        return self.file.log

    @property
    def storage(self) -> StorageSettings:
        """Where to keep history."""
        return self.file.storage

    @property
    def alerting(self) -> AlertingSettings | None:
        """Where to send alerts; ``None``: nowhere."""
        return self.file.alerting

    @property
    def multiarch(self) -> Multiarch | None:
        """The build over the whole farm, if there is to be one."""
        return self.file.canary.multiarch if self.file.canary else None

    @property
    def not_yet(self) -> tuple[str, ...]:
        """Sections that are given and checked, but that this version does not act on."""
        given = {
            "prune": bool(self.file.prune or self.prune),
            "canary": bool(self.file.canary or self.canary),
            "alerting": bool(self.file.alerting),
        }
        return tuple(name for name, present in given.items() if present)
