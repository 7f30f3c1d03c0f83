"""Ways to a node: one kept connection each, and a Duplex for whoever speaks over it."""

from random import Random

from exporter.errors import Layer
from exporter.model import NodeSpec, SshEndpoint, TcpEndpoint, UnixEndpoint
from exporter.transports.base import Backoff, Transport
from exporter.transports.ssh import SshTransport
from exporter.transports.tcp import TcpTransport
from exporter.transports.unix import UnixTransport

# A failing node is tried again at the latest after so many looks at its reachability.
_BACKOFF_LOOKS = 4


def open_transport(node: NodeSpec, rng: Random) -> Transport:
    """Make the transport of a node. Nothing is connected yet."""
    daemon = Layer.BUILDKIT if node.remote else Layer.ENGINE
    backoff = Backoff(cap=_BACKOFF_LOOKS * node.collect.reachability, rng=rng)
    match node.endpoint:
        case SshEndpoint():
            return SshTransport(node.endpoint, daemon, backoff)
        case TcpEndpoint():
            return TcpTransport(
                node.endpoint, daemon, backoff, alpn=("h2",) if node.remote else ("http/1.1",)
            )
        case UnixEndpoint():
            return UnixTransport(node.endpoint, daemon)


__all__ = ["Transport", "open_transport"]
