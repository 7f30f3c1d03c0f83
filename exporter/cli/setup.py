"""From the command line's ``--config`` to the nodes it means."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from exporter.config.discover import default_nodes, home_directory
from exporter.config.load import load
from exporter.config.sections import LogSettings
from exporter.model import NodeSpec


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works on."""

    nodes: tuple[NodeSpec, ...]
    log: LogSettings
    remarks: tuple[str, ...]
    """What the user should know of but that stops nothing, a line each."""
    source: str
    """Where the nodes come from, for people."""


def read_settings(config: Path | None) -> Settings:
    """Read the file, or find the user's own nodes where none is given.

    :raises ConfigError: with all problems of the file.
    """
    if config is None:
        found = default_nodes(os.environ, socket.gethostname(), home_directory(os.environ))
        return Settings(
            found.nodes, LogSettings(), found.notes, "the current buildx builder and local socket"
        )
    loaded = load(config, environ=os.environ)
    later = tuple(
        f"section '{name}' is valid, but this version does not act on it yet"
        for name in loaded.not_yet
    )
    return Settings(loaded.nodes, loaded.log, (*loaded.warnings, *later), str(config))
