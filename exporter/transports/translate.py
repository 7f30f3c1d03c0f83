"""Foreign exceptions of the network, in our own words."""

from __future__ import annotations

import errno
import re
import socket
import ssl

from exporter.errors import Layer, NodeError, Reason

_ERRNO = re.compile(r"\[Errno (\d+)\]")

_BY_ERRNO = {
    errno.ECONNREFUSED: (Reason.REFUSED, "connection refused"),
    errno.EHOSTUNREACH: (Reason.UNREACHABLE, "no route to the host"),
    errno.ENETUNREACH: (Reason.UNREACHABLE, "the network is unreachable"),
    errno.EHOSTDOWN: (Reason.UNREACHABLE, "the host is down"),
    errno.ENETDOWN: (Reason.UNREACHABLE, "the network is down"),
    errno.ETIMEDOUT: (Reason.TIMEOUT, "no answer"),
    errno.EACCES: (Reason.PERMISSION, "permission denied"),
    errno.EPERM: (Reason.PERMISSION, "operation not permitted"),
    errno.ECONNRESET: (Reason.PROTOCOL, "the connection was reset"),
    errno.EPIPE: (Reason.PROTOCOL, "the connection was closed"),
}


def network_error(error: Exception, layer: Layer, what: str) -> NodeError:
    """Translate an exception of a socket or of TLS. ``what`` starts the sentence."""
    if isinstance(error, NodeError):
        return error
    if isinstance(error, socket.gaierror):
        return NodeError(layer, Reason.DNS, f"{what}: the name does not resolve")
    if isinstance(error, TimeoutError) and error.errno is None:
        return NodeError(layer, Reason.TIMEOUT, f"{what}: no answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        return NodeError(
            layer, Reason.TLS, f"{what}: the server's certificate: {error.verify_message}"
        )
    if isinstance(error, ssl.SSLError):
        said = (getattr(error, "reason", None) or "failed").replace("_", " ").lower()
        return NodeError(layer, Reason.TLS, f"{what}: TLS: {said}")
    if isinstance(error, OSError):
        number = error.errno
        if number is None:
            # asyncio joins the errors of several addresses into one text without a number.
            found = _ERRNO.findall(str(error))
            number = int(found[-1]) if found else None
        reason, text = _BY_ERRNO.get(number or 0, (Reason.UNREACHABLE, "can't be reached"))
        return NodeError(layer, reason, f"{what}: {text}")
    return NodeError(layer, Reason.PROTOCOL, f"{what}: {type(error).__name__}: {error}")
