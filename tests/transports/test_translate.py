"""Foreign exceptions in our words."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.translate import network_error


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (os_error(errno.ECONNREFUSED), Reason.REFUSED, "it: connection refused"),
        (os_error(errno.EHOSTUNREACH), Reason.UNREACHABLE, "it: no route to the host"),
        (os_error(errno.ENETUNREACH), Reason.UNREACHABLE, "it: the network is unreachable"),
        (os_error(errno.ETIMEDOUT), Reason.TIMEOUT, "it: no answer"),
        (os_error(errno.EACCES), Reason.PERMISSION, "it: permission denied"),
        (os_error(errno.ECONNRESET), Reason.PROTOCOL, "it: the connection was reset"),
        (os_error(errno.EPIPE), Reason.PROTOCOL, "it: the connection was closed"),
        (os_error(errno.EMFILE), Reason.UNREACHABLE, "it: can't be reached"),
        (TimeoutError(), Reason.TIMEOUT, "it: no answer in time"),
        (socket.gaierror(-2, "Name or service"), Reason.DNS, "it: the name does not resolve"),
        (ssl.SSLError(1, "x"), Reason.TLS, "it: TLS: failed"),
        (ValueError("odd"), Reason.PROTOCOL, "it: ValueError: odd"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 113] Connect"),
            Reason.UNREACHABLE,
            "it: no route to the host",
        ),
    ],
)
def test_each_kind_of_trouble_has_its_reason(error: Exception, reason: Reason, said: str) -> None:
    failure = network_error(error, Layer.TRANSPORT, "it")
    assert (failure.layer, failure.reason, failure.detail) == (Layer.TRANSPORT, reason, said)


def test_what_is_translated_already_stays() -> None:
    failure = NodeError(Layer.ENGINE, Reason.ENGINE, "x")
    assert network_error(failure, Layer.TRANSPORT, "it") is failure
