"""The user's own ``docker`` command line, for what only buildx does.

Everything else here speaks to nodes itself. A build by ``docker buildx`` over several nodes, and
the store of builders, are buildx's own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MISSING = (
    "the docker command line is not installed here; it is needed for this (with its plugin buildx)"
)
_NO_BUILDX = (
    "docker's plugin buildx is not installed here; on Debian: apt install docker-buildx, else see "
    "https://docs.docker.com/go/buildx/"
)
_END_TIMEOUT = 5.0
_LOOK_AGAIN = 0.02
# Enough for any error; a build can print without end.
_KEPT_LINES = 400


class DockerCliError(Exception):
    """A command could not be run, did not end in time, or failed. The text is for people."""


class DockerCliLateError(DockerCliError):
    """A command did not end in time."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command printed."""

    code: int
    out: str
    err: str


class DockerCli:
    """Runs ``docker``. ``environ`` is the whole environment of the commands."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)

    @property
    def builders(self) -> Path:
        """The folder in which buildx keeps its builders, a file each."""
        own, docker = self._environ.get("BUILDX_CONFIG"), self._environ.get("DOCKER_CONFIG")
        home = Path(self._environ.get("HOME") or Path.home())
        return Path(own or Path(docker or home / ".docker") / "buildx") / "instances"

    async def run(
        self,
        *arguments: str,
        within: float,
        stdin: bytes | None = None,
        environ: Mapping[str, str] | None = None,
        on_error_line: Callable[[str], None] = lambda _: None,
        check: bool = True,
    ) -> Finished:
        """Run ``docker`` with these arguments, ``within`` so many seconds.

        ``on_error_line`` hears of progress on stderr.

        Cancelled, or late, it is ended first by SIGINT, as a user does, so that builds end too; the
        plugins that it started with it.

        :raises DockerCliError: when it is missing, or late, or (with ``check``) fails.
        """
        environment = {**self._environ, **(environ or {})}
        program = shutil.which("docker", path=environment.get("PATH"))
        if program is None:
            raise DockerCliError(_MISSING)
        what = f"docker {' '.join(arguments[:2])}"
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                *arguments,
                stdin=DEVNULL if stdin is None else PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                # Ctrl-C on the terminal is for this program, which ends the other one itself.
                start_new_session=True,
            )
        except OSError as error:
            raise DockerCliError(f"{what}: {program} can't be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(within):
                finished = await _follow(process, stdin, on_error_line)
        except TimeoutError as error:
            await _end(process)
            raise DockerCliLateError(f"{what}: not done within {within:g} s") from error
        except BaseException:
            await _end(process)
            raise
        if check and finished.code != 0:
            raise DockerCliError(f"{what}: {_said(finished)}")
        return finished

    async def buildx_version(self) -> str:
        """Return buildx's version.

        :raises DockerCliError: when docker or its plugin buildx is missing.
        """
        finished = await self.run("buildx", "version", within=30.0, check=False)
        words = finished.out.split()
        if finished.code != 0 or len(words) < 2:
            raise DockerCliError(_NO_BUILDX)
        return words[1]


async def _follow(
    process: Process, stdin: bytes | None, on_error_line: Callable[[str], None]
) -> Finished:
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        out = group.create_task(process.stdout.read(), name="docker/stdout")
        err = group.create_task(_lines(process.stderr, on_error_line), name="docker/stderr")
        if stdin is not None:
            group.create_task(_feed(process, stdin), name="docker/stdin")
    code = await process.wait()
    return Finished(code, out.result().decode(errors="replace"), "\n".join(err.result()))


async def _lines(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> list[str]:
    kept: list[str] = []
    while True:
        try:
            data = await stream.readline()
        except ValueError:  # more than the reader holds: nothing for people; its end comes next
            continue
        if not data:
            return kept
        line = data.decode(errors="replace").rstrip("\r\n")
        on_line(line)
        kept.append(line)
        del kept[:-_KEPT_LINES]


async def _feed(process: Process, stdin: bytes) -> None:
    assert process.stdin is not None
    # One that ends without reading says why itself.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _end(process: Process) -> None:
    """End it, and the plugins that it started: asked first, then made to."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if not _signal(process, number):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_TIMEOUT):
                while _signal(process, 0):  # noqa: ASYNC110 - no event tells of plugins
                    await asyncio.sleep(_LOOK_AGAIN)
                await process.wait()


def _signal(process: Process, number: int) -> bool:
    """Send a signal to all that the command started. False: none of them is left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _said(finished: Finished) -> str:
    """The line of an error that tells most: the last that begins so, or the last of all."""
    lines = [line.strip() for line in (finished.err or finished.out).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "unknown"))]
    return (errors or lines or [f"ended with exit code {finished.code}"])[-1]
