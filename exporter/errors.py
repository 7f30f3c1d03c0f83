"""What can go wrong on the way to a node, in words that are also metric label values.

Exceptions of asyncio, ssl, asyncssh, h11 and hpack are translated into this family once, at
the edge where they arise, with the original chained. Above that edge only this family is seen.
"""

from __future__ import annotations

from enum import StrEnum


class Layer(StrEnum):
    """How far one got: to the machine, to the Docker Engine on it, to BuildKit in it."""

    TRANSPORT = "transport"
    ENGINE = "engine"
    BUILDKIT = "buildkit"


class Reason(StrEnum):
    """Why a layer does not answer: the values of the label ``reason``."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    AUTH = "auth"
    HOST_KEY = "host_key"
    TLS = "tls"
    PERMISSION = "permission"
    FORWARDING = "forwarding"
    ENGINE = "engine"
    BUILDKIT = "buildkit"
    PROTOCOL = "protocol"


class NodeError(Exception):
    """A node, or one layer of it, did not answer as it should.

    ``detail`` is for people: one sentence without secrets or paths of keys.
    """

    def __init__(self, layer: Layer, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.layer = layer
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.layer}: {self.reason}: {self.detail}"


class RemoteError(NodeError):
    """The other side answered, and the answer is an error.

    ``status`` is the HTTP status of the Engine or the gRPC status code of BuildKit.
    """

    def __init__(self, layer: Layer, reason: Reason, detail: str, status: int) -> None:
        super().__init__(layer, reason, detail)
        self.status = status


class UnsupportedError(NodeError):
    """What was asked for can't be had from this node, and trying again won't change that.

    Either the other side is too old (gRPC ``UNIMPLEMENTED``), or the transport has no such
    ability, as ``statvfs`` over plain TLS.
    """


class ConfigError(Exception):
    """The configuration can't be used. ``problems`` has one line for each mistake found."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StorageError(Exception):
    """The database can't be opened, read or written. The text has no password in it."""
