"""When a TLS node's certificates end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.collectors import certificates
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Certificates, Endpoint, TcpEndpoint, TlsFiles, UnixEndpoint
from tests.collectors.fakes import NOW, SPEC, FakeNode, FakeTransport, broken, collected


async def test_both_ends_come_from_a_fresh_handshake() -> None:
    ends = Certificates(server=NOW, client=None)
    node = FakeNode(transport=FakeTransport(ends=ends))
    assert await collected(certificates.COLLECTOR, node, previous=Certificates(1.0, 2.0)) == ends


async def test_a_failing_handshake_is_an_error() -> None:
    refused = broken(Layer.TRANSPORT, Reason.TLS)
    with pytest.raises(NodeError) as caught:
        await collected(certificates.COLLECTOR, FakeNode(transport=FakeTransport(ends=refused)))
    assert caught.value is refused


@pytest.mark.parametrize(
    ("endpoint", "applies"),
    [
        (TcpEndpoint("n", 2376, TlsFiles()), True),
        (TcpEndpoint("n", 2375, None), False),
        (SPEC.endpoint, False),
        (UnixEndpoint("/x.sock"), False),
    ],
)
def test_only_tls_has_certificates(endpoint: Endpoint, applies: bool) -> None:
    assert certificates.COLLECTOR.applies(replace(SPEC, endpoint=endpoint)) is applies
