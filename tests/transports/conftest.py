"""A daemon behind an SSH server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.ssh_server import SshServer


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Path]:
    """Give the socket of a daemon that answers with what it was sent, as HTTP would begin."""
    tasks: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(b"HTTP/1.1 " + data)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(echo(reader, writer), name="daemon"))

    path = tmp_path / "docker.sock"
    async with await asyncio.start_unix_server(accept, path):
        yield path
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[SshServer]:
    """Give an SSH server that forwards and has SFTP."""
    async with SshServer(tmp_path / "sshd") as sshd:
        yield sshd
