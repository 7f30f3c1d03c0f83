"""An HTTP/1.1 server that can step aside for another protocol (101 Switching Protocols)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11

from exporter.demo.wire import Receiver, Wire


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Switch:
    """The answer that changes the protocol: from now on ``start(wire)`` speaks."""

    protocol: str
    start: Callable[[Wire], Receiver]


Answer = Callable[[Request], Reply | Switch]


def json_reply(status: int, value: Any) -> Reply:
    """Answer with JSON."""
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


class HttpConnection:
    """The server's side of one connection."""

    def __init__(self, wire: Wire, answer: Answer) -> None:
        self._wire = wire
        self._answer = answer
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._next: Receiver | None = None

    def receive(self, data: bytes) -> None:
        """Take what was read; answer each request that is whole."""
        if self._next is not None:
            self._next.receive(data)
            return
        try:
            self._http.receive_data(data)
            self._work()
        except h11.RemoteProtocolError:
            self._wire.close()

    def lost(self) -> None:
        """Learn that the connection ended."""
        if self._next is not None:
            self._next.lost()

    def _work(self) -> None:
        while self._next is None:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body = event, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._respond()
            elif isinstance(event, h11.ConnectionClosed):
                self._wire.close()
                return
            else:
                return

    def _respond(self) -> None:
        assert self._request is not None
        target = urlsplit(self._request.target.decode("latin-1"))
        request = Request(
            method=self._request.method.decode("latin-1"),
            path=target.path,
            query=dict(parse_qsl(target.query)),
            headers={
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in self._request.headers
            },
            body=bytes(self._body),
        )
        answer = self._answer(request)
        if isinstance(answer, Reply):
            self._reply(answer)
        elif "upgrade" in request.headers:
            self._switch(answer)
        else:
            self._reply(json_reply(400, {"message": f"no upgrade to {answer.protocol} was asked"}))

    def _reply(self, reply: Reply) -> None:
        length = {"Content-Length": str(len(reply.body))} if reply.status != 204 else {}
        headers = list({**reply.headers, **length}.items())
        self._write(h11.Response(status_code=reply.status, headers=headers))
        if reply.body:
            self._write(h11.Data(data=reply.body))
        self._write(h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self._wire.close()

    def _switch(self, answer: Switch) -> None:
        headers = [("Connection", "Upgrade"), ("Upgrade", answer.protocol)]
        self._write(h11.InformationalResponse(status_code=101, headers=headers, reason=b"UPGRADED"))
        rest, _ = self._http.trailing_data
        self._next = answer.start(self._wire)
        if rest:
            self._next.receive(bytes(rest))

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data and not self._wire.is_closing():
            self._wire.write(data)
