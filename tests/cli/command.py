"""The command, run as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.demo.configfile import write_config
from exporter.demo.node import SimulatedNode

# Much more than anything takes: a loaded machine is slow, and a hanging one is found out anyway.
PATIENCE = 60.0

MODULE = ("-m", "exporter")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def environment(**changes: str) -> dict[str, str]:
    """The test's environment, in which nothing decides on colours or width."""
    return {**os.environ, "TERM": "dumb", **changes}


async def command(*arguments: str, columns: str | None = None, **env: str) -> Done:
    """Run a command to its end."""
    if columns is not None:
        env["COLUMNS"] = columns
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *MODULE,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@dataclass
class Daemon:
    """A running daemon; its log is read as it is written."""

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[Mapping[str, Any]]:
        """The log so far, as JSON."""
        return [json.loads(line) for line in self.log]

    async def logged(self, pattern: str) -> str:
        """Wait for a line of the log."""
        seen = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                while seen < len(self.log):
                    if re.search(pattern, self.log[seen]):
                        return self.log[seen]
                    seen += 1
                assert self.process.stderr is not None
                line = await self.process.stderr.readline()
                assert line, f"ended without {pattern!r}:\n" + "\n".join(self.log)
                self.log.append(line.decode().rstrip("\n"))

    async def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            rest = await self.process.stderr.read()
            code = await self.process.wait()
        self.log += rest.decode().splitlines()
        return code


@asynccontextmanager
async def daemon(
    *arguments: str, program: tuple[str, ...] = MODULE, **env: str
) -> AsyncIterator[Daemon]:
    """Start a daemon on a free port of loopback; it is killed if it still runs at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        "run",
        "--web.listen-address=127.0.0.1:0",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
    )
    running = Daemon(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await running.end(None)


def config_for(*nodes: SimulatedNode, path: Path, more: str = "") -> str:
    """Write a configuration of these nodes with short intervals; its path."""
    write_config([node.spec for node in nodes], path)
    text = path.read_text() + "collect: {reachability: 1s, timeout: 2s}\n" + more
    path.write_text(text)
    path.chmod(0o600)
    return str(path)
