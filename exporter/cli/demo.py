"""``demo``: the daemon over a simulated farm."""

from __future__ import annotations

import asyncio
import time
from random import Random

import typer

from exporter.cli.daemon import address, configure_log, watch
from exporter.demo.farm import DemoFarm


def run(nodes: int, listen: str, level: str | None, log_format: str | None) -> int:
    """Raise the farm and watch it until a signal; the exit code."""
    host, port = address(listen)
    configure_log(level or "info", log_format or "auto")
    return asyncio.run(_watch(nodes, host, port))


async def _watch(nodes: int, host: str | None, port: int) -> int:
    async with DemoFarm(nodes, rng=Random(), clock=time.time) as farm:  # noqa: S311 - a game
        typer.echo(
            f"Demo farm: {nodes} simulated nodes behind real SSH and TLS servers on loopback.\n"
            f"Look at http://localhost:{port}/ and http://localhost:{port}/metrics. "
            "Ctrl-C ends it.",
            err=True,
        )
        return await watch(farm.specs, host, port)
