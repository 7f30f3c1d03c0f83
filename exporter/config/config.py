"""The configuration as the rest of the exporter sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from exporter.alerts import AlertingSettings
from exporter.config.alerts import alerting
from exporter.config.nodes import multiarch
from exporter.config.schema import ConfigFile
from exporter.config.sections import LogSettings
from exporter.model import MultiarchSettings, NodeSpec


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration. Immutable: a reload makes a new one."""

    nodes: tuple[NodeSpec, ...]
    """All nodes, from the file, from node files and from the buildx store, names unique."""
    storage_url: str = field(repr=False)
    """The database for history and the state of alerts; may hold a password."""
    file: ConfigFile = field(default_factory=ConfigFile)
    """The file as it was written, defaults filled in."""
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
    def prune_max_parallel(self) -> int:
        """How many nodes of one platform may be pruned at a time."""
        return self.file.prune.max_parallel_per_platform if self.file.prune else 1

    @property
    def alerting(self) -> AlertingSettings:
        """What is evaluated, and who is told."""
        return alerting(self.file.alerting)

    @property
    def canary_max_parallel(self) -> int:
        """How many canary builds may run at a time, over the whole farm."""
        return self.file.canary.max_parallel if self.file.canary else 1

    @property
    def multiarch(self) -> MultiarchSettings | None:
        """The build over the whole farm, if there is to be one."""
        return multiarch(self.file.canary)
