"""A Docker Engine on a unix socket, as far as its HTTP goes; answers are the test's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import h11

Upgrade = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    body: Any
    connection: int
    """Number of the connection, from 1 on."""


@dataclass
class FakeEngine:
    """Answers ``/_ping`` and what is in ``answers``; used as an async context manager.

    ``answers`` maps a path, without its version, to what is sent as JSON, or to a pair of status
    and text. ``upgrades`` maps a path to what speaks after the 101. A request below ``minimum``
    or above ``api`` is refused as the Engine does it.
    """

    socket: Path
    api: str = "1.45"
    minimum: str = "1.24"
    answers: dict[str, Any] = field(default_factory=dict)
    upgrades: dict[str, Upgrade] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    """Paths that are never answered."""
    close_after: bool = False
    """Close each connection after its first answer, without saying so before."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def all_closed(self) -> None:
        """Wait until the server has closed every connection, and the clients could see it."""
        await asyncio.wait(self._tasks)
        for _ in range(5):
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer, self.connections), name="engine")
        self._tasks.add(task)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        try:
            http = h11.Connection(h11.SERVER)
            while (request := await self._read(http, reader, number)) is not None:
                self.requests.append(request)
                path = request.target.partition("?")[0]
                path = "/" + path.split("/", 2)[2] if path.startswith("/v1.") else path
                if path in self.hangs:
                    await asyncio.Event().wait()
                if path in self.upgrades:
                    head = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
                    writer.write(
                        http.send(h11.InformationalResponse(status_code=101, headers=head)) or b""
                    )
                    await self.upgrades[path](reader, writer)
                    return
                status, body = self._answer(request, path)
                self._send(http, writer, request, status, body)
                if self.close_after:
                    return
                http.start_next_cycle()
        finally:
            writer.close()

    async def _read(
        self, http: h11.Connection, reader: asyncio.StreamReader, number: int
    ) -> Request | None:
        head, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage | type(h11.PAUSED)):
                assert head is not None
                text = json.loads(body) if body else None
                return Request(head.method.decode(), head.target.decode(), text, number)
            else:
                return None

    def _answer(self, request: Request, path: str) -> tuple[int, bytes]:
        if request.target.startswith("/v1."):
            wanted = request.target.split("/")[1][1:]
            if _number(wanted) < _number(self.minimum):
                said = (
                    f"client version {wanted} is too old. Minimum supported API version is "
                    f"{self.minimum}, please upgrade your client to a newer version"
                )
                return 400, json.dumps({"message": said}).encode()
            if _number(wanted) > _number(self.api):
                said = f"client version {wanted} is too new. Maximum supported API version is "
                return 400, json.dumps({"message": said + self.api}).encode()
        answer = self.answers.get(path, (404, json.dumps({"message": "page not found"})))
        if path == "/_ping" and path not in self.answers:
            return 200, b"OK"
        if isinstance(answer, tuple):
            return answer[0], str(answer[1]).encode()
        return 200, json.dumps(answer).encode()

    def _send(
        self,
        http: h11.Connection,
        writer: asyncio.StreamWriter,
        request: Request,
        status: int,
        body: bytes,
    ) -> None:
        headers = [("Server", "Docker/99.0 (linux)"), ("Content-Length", str(len(body)))]
        if self.api:
            headers.append(("Api-Version", self.api))
        writer.write(http.send(h11.Response(status_code=status, headers=headers)) or b"")
        if request.method != "HEAD":
            writer.write(http.send(h11.Data(data=body)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def piped(socket: Path, *, framed: bool = False) -> Upgrade:
    """Join a connection that switched protocols to a socket; ``framed`` as an exec's output is."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_unix_connection(socket)

        async def back() -> None:
            while data := await there.read(65536):
                head = b"\1\0\0\0" + len(data).to_bytes(4, "big") if framed else b""
                writer.write(head + data)

        answering = asyncio.create_task(back(), name="pipe")
        try:
            while data := await reader.read(65536):
                onward.write(data)
        finally:
            answering.cancel()
            onward.close()

    return pipe
