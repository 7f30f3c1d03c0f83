"""The daemon from the command line: address, log, signals."""

from __future__ import annotations

import os

import structlog
import typer

from exporter import __version__, app, logs
from exporter.cli import process
from exporter.cli.rules import checked
from exporter.cli.setup import Settings
from exporter.errors import StorageError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LEVELS = ("debug", "info", "warning", "error")


def run(
    settings: Settings, listen: str, site: str | None, level: str | None, log_format: str | None
) -> int:
    """Watch the nodes of ``settings``; the exit code."""
    host, port = address(listen)
    configure_log(level or settings.log.level, log_format or settings.log.format)
    if not settings.nodes:
        tell_remarks(settings)
        typer.echo(
            f"No node to watch: there is none in {settings.source}.\n"
            "Write a configuration (see README.md), or try `buildfarm-exporter demo`.",
            err=True,
        )
        return 2
    log.info(
        "starting", version=__version__, nodes=len(settings.nodes), configuration=settings.source
    )
    for remark in settings.remarks:
        log.warning(remark)
    plan = app.Plan(
        settings.nodes,
        settings.storage_url,
        prune_max_parallel=settings.prune_max_parallel,
        canary_max_parallel=settings.canary_max_parallel,
        multiarch=settings.multiarch,
        alerting=settings.alerting,
        site=checked(site) if site else "",
    )
    return process.run(watch(plan, host, port))


def tell_remarks(settings: Settings) -> None:
    """Say, where there is no node, what was left out and why."""
    for remark in settings.remarks:
        typer.echo(f"note: {remark}", err=True)


async def watch(plan: app.Plan, host: str | None, port: int) -> int:
    """Serve until a signal; the exit code."""
    async with app.stop_on_signals() as stop:
        try:
            await app.serve(plan, host, port, stop)
        except StorageError as error:
            log.error("can't open the history; see storage.url", error=str(error))
            return 1
        except OSError as error:
            log.error(
                "can't listen; choose another --web.listen-address",
                address=f"{host or ''}:{port}",
                error=_plain(error),
            )
            return 1
    log.info("stopped")
    return 0


def _plain(error: OSError) -> str:
    """What the system says; asyncio tells the address as well, and a resolver has its own words."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)


def configure_log(level: str, log_format: str) -> None:
    """Set the log up, or say which values there are."""
    if level not in LEVELS:
        raise typer.BadParameter(f"--log.level is one of {', '.join(LEVELS)}, not {level!r}")
    if log_format not in ("auto", "console", "json"):
        raise typer.BadParameter(f"--log.format is auto, console or json, not {log_format!r}")
    logs.configure(level, log_format)  # type: ignore[arg-type]


def address(listen: str) -> tuple[str | None, int]:
    """Split ``[HOST]:PORT``. No host: every address of this machine."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"--web.listen-address is [HOST]:PORT, not {listen!r}")
    return host.strip("[]") or None, int(port)
