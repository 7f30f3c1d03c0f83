"""``builder``: the buildx builder that the configuration describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from exporter.cli.setup import settings_or_exit

app = typer.Typer(
    help="Make, boot or remove the buildx builder of the whole farm.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="BUILDFARM_EXPORTER_CONFIG",
        metavar="FILE",
        help="Configuration file: which nodes there are, and how they are reached.",
    ),
]


@app.command()
def create(
    nodes: Annotated[
        list[str] | None,
        typer.Argument(metavar="NODE", hidden=True),  # its help would name a type of Python
    ] = None,
    config: ConfigOption = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the builder. Default: the one that the configuration names (buildx.builders, "
            "canary.multiarch.builder), else farm.",
        ),
    ] = None,
    by_route: Annotated[
        bool,
        typer.Option(
            "--by-route",
            help="Put the nodes in order, the best one now first: buildx builds on the first that "
            "fits. Without: an order that is there stays, new nodes come last.",
        ),
    ] = False,
    each: Annotated[
        bool,
        typer.Option(
            "--each",
            help="Also a builder NAME-NODE for each node, over the same BuildKit, to build on that "
            "node only (see route).",
        ),
    ] = False,
    use: Annotated[
        bool, typer.Option("--use", help="Make it the builder that docker buildx uses.")
    ] = False,
    skip_unreachable: Annotated[
        bool,
        typer.Option(
            "--skip-unreachable",
            help="Do without nodes that can't be reached. No failure as long as one node runs.",
        ),
    ] = False,
    driver_opt: Annotated[
        list[str] | None,
        typer.Option(
            "--driver-opt",
            metavar="K=V",
            help="Of new nodes, as docker buildx create has it. May be given several times.",
        ),
    ] = None,
    buildkitd_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="BuildKit's configuration (buildkitd.toml) of new nodes."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the docker commands; change nothing.")
    ] = False,
) -> None:
    """Make the builder, or extend it, and boot it. Needs docker with buildx.

    Of all nodes of the configuration, or of those that are named. A BuildKit that is there is taken
    over, with its cache, where the node's 'builders' name it; else a new one is made beside it, and
    a note says so. What is as it should be is left alone. Where a node can't be reached, nothing is
    changed.
    """
    from exporter.cli import builder_create  # noqa: PLC0415 - needed by no other command

    if config is None:
        raise typer.BadParameter("which nodes? Name a configuration file: --config FILE")
    asked = builder_create.Asked(
        name=name,
        nodes=tuple(nodes or ()),
        by_route=by_route,
        each=each,
        use=use,
        skip_unreachable=skip_unreachable,
        options=tuple(driver_opt or ()),
        config=buildkitd_config,
        dry_run=dry_run,
    )
    raise typer.Exit(builder_create.main(settings_or_exit(config), asked))


@app.command()
def rm(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", hidden=True),  # its help would name a type of Python
    ] = None,
    config: ConfigOption = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also the caches: the nodes' state volumes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --purge.")] = False,
) -> None:
    """Remove the builder, and those of --each. Caches stay on the nodes, unless --purge is given.

    NAME as in create. Exit 1 if a node can't be reached: then the builder keeps that node, for
    another time. Needs docker with buildx.
    """
    from exporter.cli import builder_rm  # noqa: PLC0415 - needed by no other command

    settings = settings_or_exit(config) if config is not None else None
    raise typer.Exit(builder_rm.main(settings, name, purge=purge, yes=yes))
