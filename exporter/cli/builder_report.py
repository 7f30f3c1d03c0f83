"""What ``builder create`` says."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text

from exporter.actions.builder_docker import StepError
from exporter.actions.builder_plan import AS_IT_WAS, Plan, Step
from exporter.cli.terminal import print_beside
from exporter.model import BuildxNode


def called(node: BuildxNode) -> str:
    """Name a node as the configuration does, or else as buildx does."""
    return node.spec.name if node.spec else node.name


def report(out: Console, plans: Sequence[Plan], steps: Sequence[Step]) -> None:
    """Print what was done, and what became of every node of every builder."""
    for what, verb, name, *_ in (step.arguments for step in steps):
        if what == "context":
            out.print(f"Docker context {name} {verb}d: it holds the certificates")
    for one in plans:
        out.print(Text.assemble((one.name, "bold"), f"  {one.driver}"))
        width = max(len(fate.done) for fate in one.fates)
        for fate in one.fates:
            node = fate.node
            style = "" if fate.done == AS_IT_WAS else "green"
            head = Text.assemble("  ", (f"{fate.done:<{width}}", style), "  ")
            name = f"{node.spec.name}: " if node.spec else ""
            claims = f", first for {', '.join(node.platforms)}" if node.platforms else ""
            print_beside(out, head, f"{name}{node.name} at {node.endpoint}{claims}")
    if not steps:
        out.print("Nothing to change.")


def remark(main: Plan) -> None:
    """Print what the user should know."""
    for text in main.remarks:
        typer.echo(f"note: {text}", err=True)


def stopped(error: StepError) -> None:
    """Say how far it got, and what to do."""
    typer.echo(f"{error}", err=True)
    for head, commands in (("Done before:", error.done), ("Not done:", error.undone)):
        if commands:
            typer.echo("\n  ".join((head, *commands)), err=True)
    typer.echo("Run it again: it goes on from what is there.", err=True)
