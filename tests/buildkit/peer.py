"""An HTTP/2 server without a network: hyper's h2, which also checks the rules for us."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import h2.config
import h2.connection
import h2.events

from exporter.buildkit.channel import Channel
from exporter.transports.duplex import Duplex
from tests.support.scripted import ScriptedDuplex

E = TypeVar("E", bound=h2.events.Event)

GRPC = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


def message(body: bytes) -> bytes:
    """Prefix a gRPC message as it is in a stream."""
    return bytes([0]) + len(body).to_bytes(4, "big") + body


class Peer:
    """The server's side of :attr:`duplex`. ``on_request`` is called with a request's stream.

    ``events`` has what arrived, ``body`` what each stream sent. Call :meth:`flush` after using
    :attr:`h2` outside of ``on_request``.
    """

    def __init__(
        self,
        on_request: Callable[[Peer, int], None] = lambda peer, stream: None,
        settings: dict[int, int] | None = None,
    ) -> None:
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        self.on_request = on_request
        self.events: list[h2.events.Event] = []
        self.body: dict[int, bytes] = {}
        self.duplex = ScriptedDuplex(self._receive)
        self.flush()

    def channel(self) -> Channel:
        """Give a channel of ours to this server."""
        return Channel(self.duplex, "n1/farm0")

    def _receive(self, _: Duplex, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                stream = event.stream_id
                self.body[stream] = self.body.get(stream, b"") + event.data
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                self.on_request(self, event.stream_id)
        self.flush()

    def answer(self, stream: int, *messages: bytes, pad: int | None = None) -> None:
        """Answer with these messages and success."""
        self.h2.send_headers(stream, GRPC)
        for body in messages:
            self.h2.send_data(stream, message(body), pad_length=pad)
        self.h2.send_headers(stream, OK, end_stream=True)

    def flush(self) -> None:
        """Send what h2 has ready."""
        if data := self.h2.data_to_send():
            self.duplex.feed(data)

    def saw(self, kind: type[E]) -> list[E]:
        """Give the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]
