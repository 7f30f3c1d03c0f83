"""A channel of an SSH connection as a Duplex."""

from __future__ import annotations

import asyncio

from exporter.errors import Layer, NodeError
from exporter.transports.duplex import Duplex, TransportDuplex

# What makes each daemon say something: an HTTP request, or HTTP/2's preface with no settings.
_HELLO = {
    Layer.ENGINE: b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
    Layer.BUILDKIT: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
}
_HTTP_1 = b"HTTP/1."
_SETTINGS_FRAME = b"\4"

_PATIENCE = 5.0


class ChannelDuplex(TransportDuplex):
    """What asyncssh calls the session of a channel, for a forwarded socket or for a command."""

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Take bytes; what a command says on stderr is not part of the stream."""
        if datatype is None:
            self.feed(data)

    def session_started(self) -> None:
        """Do nothing: whoever asked for the channel starts."""

    def exit_status_received(self, status: int) -> None:
        """Do nothing: the stream ends anyway."""

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Do nothing: the stream ends anyway."""


async def is_daemon(stream: Duplex, daemon: Layer) -> bool:
    """Tell whether a daemon is at the other end, and close the stream.

    A forced command, such as ``internal-sftp``, is started whatever was asked for. It is silent,
    or says what no daemon does.
    """
    said = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            stream.write(_HELLO[daemon])
            while len(said) < 9 and (data := await stream.read(64)):
                said += data
    except (TimeoutError, NodeError):
        return False
    finally:
        stream.close()
    if daemon is Layer.ENGINE:
        return said.startswith(_HTTP_1)
    return said[3:4] == _SETTINGS_FRAME and said[5:9] == bytes(4)
