"""The command ``buildfarm-exporter`` and its subcommands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from exporter import __version__
from exporter.cli import builder, daemon, process
from exporter.cli import check as check_command
from exporter.cli import discover as discover_command
from exporter.cli import status as status_command
from exporter.cli.setup import settings_or_exit as _settings
from exporter.config.jsonschema import schema as json_schema


class _RunByDefault(TyperGroup):
    """Without a subcommand, ``run`` is meant; its options then need no ``run`` before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = {"-h", "--help", "--version", "--install-completion", "--show-completion"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["run", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_RunByDefault,
    help="Prometheus exporter, alerting and pruning daemon for Docker Buildx build farms.",
    epilog="Without a command: run.",
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(builder.app, name="builder")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="BUILDFARM_EXPORTER_CONFIG",
        metavar="FILE",
        help="Configuration file. Without one: the nodes of your current buildx builder, and the "
        "local Docker socket.",
    ),
]
ListenOption = Annotated[
    str,
    typer.Option("--web.listen-address", metavar="[HOST]:PORT", help="Where to serve HTTP."),
]
SiteOption = Annotated[
    str | None,
    typer.Option(
        "--web.external-url",
        metavar="URL",
        help="Where people reach the exporter: alerts link to it. Default: this machine's name.",
    ),
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
    site: SiteOption = None,
    level: LevelOption = None,
    log_format: FormatOption = None,
    or_demo: Annotated[
        bool, typer.Option("--or-demo", help="Where no node is found, watch a simulated farm.")
    ] = False,
) -> None:
    """Watch the farm, serve Prometheus, tell Alertmanager: the daemon."""
    settings = _settings(config)
    if or_demo and not settings.nodes:
        daemon.tell_remarks(settings)
        typer.echo(
            "No node of a buildx builder and no Docker socket here: this is the DEMO farm.\n"
            "Its nodes are simulated. Give your own with --config FILE (make run CONFIG=FILE).",
            err=True,
        )
        _demo(6, listen, level, log_format)
    _exit(daemon.run(settings, listen, site, level, log_format))


@app.command()
def demo(
    nodes: Annotated[
        int,
        typer.Option("--nodes", metavar="N", min=1, max=500, help="How many nodes to simulate."),
    ] = 6,
    listen: ListenOption = DEFAULT_LISTEN,
    level: LevelOption = None,
    log_format: FormatOption = None,
) -> None:
    """The daemon over a simulated farm. It is reached over real SSH and TLS on loopback."""
    _demo(nodes, listen, level, log_format)


def _demo(nodes: int, listen: str, level: str | None, log_format: str | None) -> None:
    from exporter.cli import demo as demo_command  # noqa: PLC0415 - a slow import

    _exit(demo_command.run(nodes, listen, level, log_format))


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check the configuration, then every node layer by layer. Exit 1 if a node fails."""
    _exit(process.run(check_command.run(_settings(config))))


@app.command()
def status(config: ConfigOption = None) -> None:
    """One look at the farm as a table."""
    _exit(process.run(status_command.run(_settings(config))))


@app.command()
def prune(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="NODE", hidden=True),  # its help would name a type of Python
    ] = None,
    config: ConfigOption = None,
    keep_storage: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="How much of each cache to keep: 20GB, or 15% of the disk. "
            "Default: prune.keep_storage of the configuration.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, oldest first; remove nothing.")
    ] = False,
    empty: Annotated[
        bool, typer.Option("--empty", help="Keep nothing: every record that no build uses goes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --empty.")] = False,
) -> None:
    """Prune the selected builders' caches now. Least recently used records go first.

    Only on the nodes that are named. Without names: on those that the configuration prunes, or on
    all where it prunes none.
    """
    from exporter.cli import prune as prune_command  # noqa: PLC0415 - a slow import

    _exit(prune_command.main(_settings(config), nodes or [], keep_storage, dry_run, empty, yes))


@app.command()
def canary(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="NODE", hidden=True),  # its help would name a type of Python
    ] = None,
    config: ConfigOption = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="PLATFORM",
            help="Build for this one instead of those that the nodes are there for. May be given "
            "several times.",
        ),
    ] = None,
    multiarch: Annotated[
        bool | None,
        typer.Option(
            "--multiarch/--no-multiarch",
            help="Also the build over the whole farm. Default: where the configuration has one "
            "and neither nodes nor platforms are named.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Time the nodes by canary builds now. Exit 1 if one fails or a platform is missing.

    Only the nodes that are named. Without names: those for which the configuration wants canary
    builds, or all where it wants none.
    """
    from exporter.cli import canary as canary_command  # noqa: PLC0415 - a slow import

    _exit(canary_command.main(_settings(config), nodes or [], platform or [], multiarch))


@app.command()
def route(
    platform: Annotated[
        str,
        typer.Option("--platform", metavar="PLATFORM", help="What to build for: linux/amd64."),
    ],
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Ask a running daemon (http://exporter.example.com:9972) instead of looking. It "
            "remembers which nodes it named, so that builds that begin at once spread.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but the node's name.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as the API has it.")] = False,
) -> None:
    """Name the best node for a build now, and say why. Exit 1 if no node can."""
    from exporter.cli import route as route_command  # noqa: PLC0415 - a slow import

    _exit(
        route_command.main(platform, url, lambda: _settings(config), quiet=quiet, as_json=as_json)
    )


@app.command()
def discover() -> None:
    """Print a configuration of what is set up here.

    Looked for are the nodes of buildx builders, Docker contexts and the local socket.
    """
    _exit(discover_command.run())


@app.command()
def rules(
    config: ConfigOption = None,
    site: Annotated[
        str,
        typer.Option(
            "--web.external-url",
            metavar="URL",
            help="Where people reach the exporter: alerts link to it.",
        ),
    ] = "http://buildfarm-exporter:9972",
) -> None:
    """Print the alerts as a rule file for Prometheus.

    Thresholds are those of the configuration.
    """
    from exporter.cli import rules as rules_command  # noqa: PLC0415 - needed by no other command

    _exit(rules_command.run(_settings(config), site))


@app.command()
def schema() -> None:
    """Print the configuration file's JSON Schema. Editors complete from it."""
    typer.echo(json.dumps(json_schema(), indent=2))


def _exit(code: int) -> None:
    raise typer.Exit(code)


def main(*args: Any) -> None:
    """Run the command line; never returns."""
    code = 0
    try:
        app(*args)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    process.leave(code)
