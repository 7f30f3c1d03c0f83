"""From the command line's ``--config`` to the nodes it means."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import typer

from exporter.alerts import AlertingSettings
from exporter.config.load import defaults, load
from exporter.config.sections import LogSettings
from exporter.errors import ConfigError
from exporter.model import MultiarchSettings, NodeSpec
from exporter.words import count


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works on."""

    nodes: tuple[NodeSpec, ...]
    log: LogSettings
    remarks: tuple[str, ...]
    """What the user should know of but that stops nothing, a line each."""
    source: str
    """Where the nodes come from, for people."""
    prune_max_parallel: int
    """How many nodes of one platform may be pruned at a time."""
    canary_max_parallel: int
    """How many canary builds may run at a time, over the whole farm."""
    multiarch: MultiarchSettings | None
    """The canary build over the whole farm; ``None``: there is to be none."""
    alerting: AlertingSettings
    """What is evaluated, and who is told."""
    buildx_builders: tuple[str, ...]
    """The builders in the buildx store whose nodes are taken in."""
    storage_url: str = field(repr=False)
    """The database for history; may hold a password."""


def read_settings(config: Path | None) -> Settings:
    """Read the file, or find the user's own nodes where none is given.

    :raises ConfigError: with all problems of the file.
    """
    loaded = defaults(environ=os.environ) if config is None else load(config, environ=os.environ)
    return Settings(
        nodes=loaded.nodes,
        log=loaded.log,
        remarks=loaded.warnings,
        source=str(config) if config else "the current buildx builder and local socket",
        prune_max_parallel=loaded.prune_max_parallel,
        canary_max_parallel=loaded.canary_max_parallel,
        multiarch=loaded.multiarch,
        alerting=loaded.alerting,
        buildx_builders=loaded.file.buildx.builders,
        storage_url=loaded.storage_url,
    )


def settings_or_exit(config: Path | None) -> Settings:
    """Read the configuration, or say everything that is wrong with it and exit with 2."""
    try:
        return read_settings(config)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        typer.echo(f"{count(len(error.problems), 'problem')}; nothing was started.", err=True)
        raise typer.Exit(2) from error
