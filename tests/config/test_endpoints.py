"""Endpoints and platforms as people write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.endpoints import parse_address
from exporter.model import Endpoint, SshEndpoint, TcpEndpoint, TlsFiles, UnixEndpoint
from exporter.platforms import normalise_platform

TLS = TlsFiles()


@pytest.mark.parametrize(
    ("text", "tls", "remote", "endpoint"),
    [
        (
            "ssh://me@Node1:22/run/x.sock",
            None,
            False,
            SshEndpoint("Node1", "me", 22, "/run/x.sock"),
        ),
        ("ssh://[2001:db8::1]", None, False, SshEndpoint("2001:db8::1")),
        ("tcp://a", TLS, False, TcpEndpoint("a", 2376, TLS)),
        ("tcp://a", None, False, TcpEndpoint("a", 2375, None)),
        ("tcp://a", TLS, True, TcpEndpoint("a", 1234, TLS)),
        ("tcp://a:99", TLS, False, TcpEndpoint("a", 99, TLS)),
        ("unix:///run/docker.sock", None, False, UnixEndpoint("/run/docker.sock")),
    ],
)
def test_endpoints(text: str, tls: TlsFiles | None, remote: bool, endpoint: Endpoint) -> None:
    """Ports default to what Docker, or a bare buildkitd, listens on."""
    assert parse_address(text).endpoint(tls=tls, remote=remote) == endpoint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("node1", "an endpoint needs its scheme; write ssh://node1"),
        ("me@node1:22", "an endpoint needs its scheme; write ssh://me@node1:22"),
        (
            "/var/run/docker.sock",
            "a socket's path needs its scheme; write unix:///var/run/docker.s",
        ),
        (
            "unix://var/run/docker.sock",
            "a socket needs its whole path: unix:///var/run/docker.sock",
        ),
        ("http://a:2375", "http:// is not an endpoint; write tcp://host:2376 with tls, or ssh://"),
        ("docker-container://x", "docker-container:// is not an endpoint; write the Docker Engine"),
        ("ftp://a", "not an endpoint; write ssh://user@host, tcp://host:port or unix:///path"),
        ("tcp://a:0", "the port must be a number from 1 to 65535"),
        ("tcp://a:70000", "the port must be a number from 1 to 65535"),
        ("tcp://me@a", "tcp:// has no user; certificates (tls) say who you are"),
        ("tcp://a/x", "tcp:// has no path; write tcp://host:port"),
        ("ssh://2001:db8::1", "an IPv6 address goes into brackets: ssh://[2001:db8::1]"),
        ("ssh://-oProxyCommand=x", "no such host name can be; write ssh://user@host"),
        ("ssh://", "no host; write ssh://user@host"),
        ("ssh://a?x=1", "an endpoint has no ?query and no #fragment"),
        ("ssh://a b", "an endpoint has no blanks or control characters"),
    ],
)
def test_endpoints_that_are_none(text: str, message: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_address(text)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    for prefix in ("", "ssh://", "tcp://", "unix://"):
        try:
            address = parse_address(prefix + text)
        except ValueError:
            continue
        assert address.host or address.path


@pytest.mark.parametrize(
    ("written", "platform"),
    [
        ("linux/arm64/v8", "linux/arm64"),
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("Windows/AMD64", "windows/amd64"),
    ],
)
def test_platforms_are_spelled_as_buildkit_does(written: str, platform: str) -> None:
    assert normalise_platform(written) == platform
