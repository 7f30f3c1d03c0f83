"""HTTP/1.1 over a Duplex: requests one after another, and the step to another protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h11

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.duplex import Duplex

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class HttpConnection:
    """One connection that serves one request at a time.

    A request that was cut short (cancelled, failed) leaves the connection unusable: see
    :attr:`reusable`.
    """

    def __init__(self, duplex: Duplex) -> None:
        self._duplex = duplex
        self._http = h11.Connection(h11.CLIENT)

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        idle = self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE
        return idle and not self._duplex.ended

    def close(self) -> None:
        """Give the connection up."""
        self._duplex.close()

    async def request(self, method: str, target: str, body: bytes | None = None) -> Response:
        """Send a request and read the whole answer, whatever its status."""
        await self._send(method, target, body, [])
        status, headers, parts = 0, {}, []
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                status, headers = event.status_code, _headers(event)
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return Response(status, headers, b"".join(parts))

    async def upgrade(
        self, method: str, target: str, protocol: str, body: bytes | None = None
    ) -> Duplex | Response:
        """Ask for another protocol: the stream that speaks it, or the answer that refuses."""
        wish = [("Connection", "Upgrade"), ("Upgrade", protocol)]
        await self._send(method, target, body, wish)
        while True:
            event = await self._next_event()
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                rest, _ = self._http.trailing_data
                self._duplex.unread(bytes(rest))
                return self._duplex
            if isinstance(event, h11.Response):
                parts = []
                while not isinstance(data := await self._next_event(), h11.EndOfMessage):
                    if isinstance(data, h11.Data):
                        parts.append(bytes(data.data))
                self.close()
                return Response(event.status_code, _headers(event), b"".join(parts))

    async def _send(
        self, method: str, target: str, body: bytes | None, extra: Sequence[tuple[str, str]]
    ) -> None:
        headers = [("Host", "docker"), ("User-Agent", "buildfarm-exporter"), *extra]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        try:
            data = (
                self._http.send(h11.Request(method=method, target=target, headers=headers)) or b""
            )
            if body is not None:
                data += self._http.send(h11.Data(data=body)) or b""
            data += self._http.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError as error:
            raise NodeError(Layer.ENGINE, Reason.PROTOCOL, f"HTTP: {error}") from error
        self._duplex.write(data)
        await self._duplex.drain()

    async def _next_event(self) -> h11.Event:
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._duplex.read(_CHUNK))
                    continue
            except h11.RemoteProtocolError as error:
                raise NodeError(
                    Layer.ENGINE, Reason.PROTOCOL, f"not an HTTP answer: {error}"
                ) from error
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                raise NodeError(
                    Layer.ENGINE, Reason.PROTOCOL, "the connection ended before the answer did"
                )
            assert isinstance(event, h11.Event)
            return event


def _headers(event: h11.Response) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
