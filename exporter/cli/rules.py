"""``rules``: the alerts as a rule file for Prometheus."""

from __future__ import annotations

from urllib.parse import urlsplit

import typer

from exporter.alerting.rulefile import rule_file
from exporter.cli.setup import Settings


def run(settings: Settings, site: str) -> int:
    """Print the file; the exit code."""
    typer.echo(rule_file(settings.alerting, settings.nodes, checked(site)), nl=False)
    return 0


def checked(site: str) -> str:
    """Return an address under which people reach the exporter, without a slash at its end."""
    parts = urlsplit(site)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise typer.BadParameter(
            f"--web.external-url is http://host:port or https://host/path, not {site!r}"
        )
    return site.rstrip("/")
