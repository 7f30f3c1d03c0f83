"""``route``: the best node for a build now, and why."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.client import HTTPException
from random import Random
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import typer
from rich.console import Console
from rich.text import Text

from exporter import __version__
from exporter.canaries import CanaryKey, CanaryRecord
from exporter.cli import process
from exporter.cli.look import look_at_all
from exporter.cli.setup import Settings
from exporter.cli.terminal import console, print_beside
from exporter.errors import StorageError
from exporter.platforms import normalise_platform
from exporter.routing import rank

_ASK_TIMEOUT = 30.0
_MOST = 16 * 1024 * 1024

Answer = Mapping[str, Any]
"""As ``/api/v1/route`` answers; ``node`` is ``None`` where there is none."""


class AskError(Exception):
    """The daemon could not be asked. The text is for people."""


def main(
    platform: str, url: str | None, settings: Callable[[], Settings], *, quiet: bool, as_json: bool
) -> int:
    """Name the best node; the exit code. ``settings`` are read only where no daemon is asked."""
    try:
        wanted = normalise_platform(platform)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if quiet and as_json:
        raise typer.BadParameter("either --quiet or --json")
    if url is not None:
        if wrong := _wrong(url):
            raise typer.BadParameter(wrong)
        ask = by_daemon(url, wanted)
    else:
        found = settings()
        if not found.nodes:
            typer.echo("No nodes. Name some in a configuration file (--config).", err=True)
            return 2
        ask = by_own_look(found, wanted)

    async def tell() -> int:
        try:
            answer = await ask
        except AskError as error:
            typer.echo(str(error), err=True)
            return 1
        return _tell(answer, quiet=quiet, as_json=as_json)

    return process.run(tell())


async def by_own_look(settings: Settings, platform: str) -> Answer:
    """Look at the farm. Between equals chance decides: nobody remembers whose turn it is."""
    # What is learned in a long look is not old at its end.
    began = time.time()
    snapshots = await look_at_all(settings.nodes, console())
    try:
        canaries = await latest_canaries(settings.storage_url)
    except StorageError as error:
        typer.echo(f"note: what canary builds said can't be read: {error}", err=True)
        canaries = {}
    ranking = rank(snapshots, platform, began, canaries)
    return ranking.drawn(Random()).document()  # noqa: S311 - spreads load, hides nothing


async def by_daemon(url: str, platform: str) -> Answer:
    """Ask a running daemon, which remembers whom it named.

    :raises AskError: when it does not say.
    """
    full = f"{url.rstrip('/')}/api/v1/route?platform={quote(platform)}"
    try:
        async with asyncio.timeout(_ASK_TIMEOUT):
            status, body = await asyncio.to_thread(_get, full)
    except TimeoutError as error:
        raise AskError(f"{url} does not answer within {_ASK_TIMEOUT:g} s") from error
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        said = getattr(reason, "strerror", None) or str(reason).strip()
        raise AskError(f"{url} can't be asked: {said}") from error
    try:
        said = json.loads(body)
        if status == HTTPStatus.OK:
            return {"node": str(said["node"]), **said}
        if status == HTTPStatus.NOT_FOUND:
            more = {"node": None, "why": said["detail"], "candidates": []}
            return {"platform": platform, **more, "left_out": list(said["left_out"])}
        told = said["detail"]
    except (ValueError, KeyError, TypeError) as error:
        raise AskError(f"{url} answers HTTP {status}, but not as this exporter does") from error
    raise AskError(f"{url} answers HTTP {status}: {told}")


def _wrong(url: str) -> str | None:
    """Say what is wrong with a daemon's URL."""
    if "@" in url:
        # Not told back: a log keeps what it is told.
        return "a URL with a user or password in it is not taken"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        return f"'{url}' is not a daemon's URL; write http://exporter.example.com:9972"
    return None


def _tell(answer: Answer, *, quiet: bool, as_json: bool) -> int:
    """Print the answer; the exit code: 1 if no node can build it."""
    node = answer["node"]
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif quiet and node is not None:
        typer.echo(node)
        if answer.get("emulated"):
            text = f"note: {node} emulates {answer['platform']}; no node builds it natively now"
            typer.echo(text, err=True)
    elif quiet:
        typer.echo(answer["why"], err=True)
    else:
        _report(console(), answer)
    return int(node is None)


def _report(out: Console, answer: Answer) -> None:
    """Print the best node and why, and below it all nodes, the best ones first."""
    node, candidates, left_out = answer["node"], answer["candidates"], answer["left_out"]
    if node is None:
        out.print(Text(f"No node can build {answer['platform']} now.", "red"))
    else:
        style = "yellow" if answer.get("emulated") else "green"
        print_beside(out, Text(f"{node}  ", style), answer["why"])
    width = max((len(row["node"]) for row in (*candidates, *left_out)), default=0)
    out.print()
    print_beside(out, Text(f"    {'NODE':<{width}}  ", "bold"), "WHY")
    for place, row in enumerate(candidates, start=1):
        print_beside(out, Text(f"{place:>2}  {row['node']:<{width}}  "), row["why"])
    for row in left_out:
        print_beside(out, Text(f" -  {row['node']:<{width}}  ", "dim"), row["why"])


async def latest_canaries(url: str) -> dict[CanaryKey, CanaryRecord]:
    """The latest canary build of each; none where there is no history yet."""
    from exporter.storage.canaries import CanaryStore  # noqa: PLC0415 - a slow import
    from exporter.storage.database import exists, open_database  # noqa: PLC0415 - the same

    if not exists(url):
        return {}
    async with open_database(url) as database:
        return {record.key: record for record in await CanaryStore(database).latest()}


def _get(url: str) -> tuple[int, bytes]:
    """Fetch a page whatever its status. Blocks."""
    request = Request(url, headers={"User-Agent": f"buildfarm-exporter/{__version__}"})  # noqa: S310 - checked
    try:
        with urlopen(request, timeout=_ASK_TIMEOUT) as answer:  # noqa: S310 - the same
            return answer.status, answer.read(_MOST)
    except HTTPError as error:
        with error:
            return error.code, error.read(_MOST)
