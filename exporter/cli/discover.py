"""``discover``: a configuration file from what is already set up on this machine."""

from __future__ import annotations

import os
import socket

import typer

from exporter.config.discover import discover, home_directory, to_yaml


def run() -> int:
    """Print the file on stdout and what was left out on stderr; the exit code."""
    found = discover(os.environ, socket.gethostname(), home_directory(os.environ))
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    if not found.nodes:
        typer.echo(
            "Nothing found: no builder in the buildx store, no Docker context, no local socket.",
            err=True,
        )
        return 1
    typer.echo(to_yaml(found), nl=False)
    return 0
