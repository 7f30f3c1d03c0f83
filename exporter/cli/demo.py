"""``demo``: the daemon over a simulated farm."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

import typer

from exporter.app import Plan
from exporter.cli import process
from exporter.cli.daemon import address, configure_log, watch
from exporter.demo.farm import DemoFarm, allow_many_sockets
from exporter.model import (
    CanarySettings,
    PruneCritical,
    PruneSettings,
    PruneTriggers,
    Threshold,
)

# As somebody would set it up, but for the times: a demo is watched for minutes, not for days.
_PRUNE = PruneSettings(
    keep_storage=Threshold(bytes=40 * 1024**3),
    when=PruneTriggers(disk_free_below=Threshold(share=0.15), inodes_free_below=0.1),
    critical=PruneCritical(disk_free_below=Threshold(share=0.05)),
    wait_for_idle=20.0,
    cooldown=60.0,
)

# Its nodes are hardly ever idle.
_CANARY = CanarySettings(
    every=90.0, cpu=128 * 1024**2, disk=128 * 1024**2, timeout=30.0, skip_while_building=False
)
_CANARIES_AT_ONCE = 2


def run(nodes: int, listen: str, level: str | None, log_format: str | None) -> int:
    """Raise the farm and watch it until a signal; the exit code."""
    host, port = address(listen)
    configure_log(level or "info", log_format or "auto")
    allow_many_sockets()
    site = listen if host else f"localhost:{port}"
    return process.run(_watch(nodes, host, port, f"http://{site}"))


async def _watch(nodes: int, host: str | None, port: int, url: str) -> int:
    async with DemoFarm(nodes, rng=Random(), clock=time.time) as farm:  # noqa: S311 - a game
        typer.echo(
            f"Demo farm: {nodes} simulated nodes behind real SSH and TLS servers on loopback.\n"
            f"Look at {url}/ and {url}/metrics. Ctrl-C ends it.",
            err=True,
        )
        plan = Plan(
            tuple(replace(spec, prune=_PRUNE, canary=_CANARY) for spec in farm.specs),
            farm.storage_url,
            canary_max_parallel=_CANARIES_AT_ONCE,
            site=url,
        )
        return await watch(plan, host, port)
