"""The command ``buildfarm-exporter`` and its subcommands."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from exporter import __version__
from exporter.cli import check as check_command
from exporter.cli import daemon
from exporter.cli import demo as demo_command
from exporter.cli import discover as discover_command
from exporter.cli import status as status_command
from exporter.cli.setup import Settings, read_settings
from exporter.config.jsonschema import schema as json_schema
from exporter.errors import ConfigError


class _RunByDefault(TyperGroup):
    """Without a subcommand, ``run`` is meant; its options then need no ``run`` before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"--help", "--version", "--install-completion", "--show-completion"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["run", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_RunByDefault,
    help="Prometheus exporter and alerting daemon for Docker Buildx build farms.",
    epilog="Without a command: run.",
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="BUILDFARM_EXPORTER_CONFIG",
        metavar="FILE",
        help="Configuration file. Without one: the nodes of your current buildx builder, and the "
        "local Docker socket, read-only.",
    ),
]
ListenOption = Annotated[
    str,
    typer.Option("--web.listen-address", metavar="[HOST]:PORT", help="Where to serve HTTP."),
]
LevelOption = Annotated[
    str | None,
    typer.Option("--log.level", metavar="LEVEL", help="debug, info, warning or error."),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--log.format",
        metavar="FORMAT",
        help="auto, console or json. auto: colours on a terminal, JSON elsewhere.",
    ),
]
DEFAULT_LISTEN = ":9972"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"buildfarm-exporter {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del version


@app.command()
def run(
    config: ConfigOption = None,
    listen: ListenOption = DEFAULT_LISTEN,
    level: LevelOption = None,
    log_format: FormatOption = None,
    or_demo: Annotated[
        bool, typer.Option("--or-demo", help="Where no node is found, watch a simulated farm.")
    ] = False,
) -> None:
    """Watch the farm and serve Prometheus: the daemon."""
    settings = _settings(config)
    if or_demo and not settings.nodes:
        typer.echo(
            "No builder in the buildx store and no Docker socket here: this is the DEMO farm.\n"
            "Its nodes are simulated. Give your own with --config FILE (make run CONFIG=FILE).",
            err=True,
        )
        _exit(demo_command.run(6, listen, level, log_format))
    _exit(daemon.run(settings, listen, level, log_format))


@app.command()
def demo(
    nodes: Annotated[
        int, typer.Option("--nodes", min=1, max=500, help="How many nodes to simulate.")
    ] = 6,
    listen: ListenOption = DEFAULT_LISTEN,
    level: LevelOption = None,
    log_format: FormatOption = None,
) -> None:
    """The same daemon over a simulated farm, reached over real SSH and TLS on loopback."""
    _exit(demo_command.run(nodes, listen, level, log_format))


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check the configuration, then every node layer by layer. Exit 1 if a node fails."""
    _exit(asyncio.run(check_command.run(_settings(config))))


@app.command()
def status(config: ConfigOption = None) -> None:
    """One look at the farm as a table."""
    _exit(asyncio.run(status_command.run(_settings(config))))


@app.command()
def discover() -> None:
    """Print a configuration made from the buildx store and the Docker contexts."""
    _exit(discover_command.run())


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file; editors complete from it."""
    typer.echo(json.dumps(json_schema(), indent=2))


def _settings(config: Path | None) -> Settings:
    """Read the configuration, or say everything that is wrong with it and exit with 2."""
    try:
        return read_settings(config)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        count = len(error.problems)
        typer.echo(f"{count} problem{'s' if count > 1 else ''}; nothing was started.", err=True)
        raise typer.Exit(2) from error


def _exit(code: int) -> None:
    raise typer.Exit(code)


def main(*args: Any) -> None:
    """Run the command line."""
    try:
        app(*args)
    except KeyboardInterrupt:
        sys.exit(130)
