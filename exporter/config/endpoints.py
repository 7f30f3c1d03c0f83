"""Where a node is, as a URL: ``ssh://builder@host``, ``tcp://host:2376``, ``unix:///path``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from exporter.model import Endpoint, SshEndpoint, TcpEndpoint, TlsFiles, UnixEndpoint

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]*", re.ASCII)
_BARE = re.compile(r"([\w.+-]+@)?[\w.-]+(:\d+)?", re.ASCII)
_SCHEMES = ("ssh", "tcp", "unix")
_NO_SUCH_SCHEME = {
    "http": "http:// is not an endpoint; write tcp://host:2376 with tls, or ssh://host",
    "https": "https:// is not an endpoint; write tcp://host:2376 with tls: {ca: …}",
    "npipe": "npipe:// is a Windows pipe and can't be reached from here; write ssh://host",
    "fd": "fd:// is how dockerd is started, not where it is; write unix:///var/run/docker.sock",
    "docker-container": "docker-container:// is not an endpoint; write the Docker Engine's own",
    "kube-pod": "kube-pod:// is not an endpoint; write tcp://host:1234 with driver: remote",
    "file": "file:// is not an endpoint; write unix:///path/to/docker.sock",
}
PORT_TLS, PORT_PLAIN, PORT_BUILDKITD = 2376, 2375, 1234


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an endpoint's URL. ``host`` is empty for a unix socket."""

    scheme: str
    host: str = ""
    user: str | None = None
    port: int | None = None
    path: str | None = None

    def endpoint(self, *, tls: TlsFiles | None, remote: bool) -> Endpoint:
        """The endpoint, with the port that Docker (or a bare buildkitd, ``remote``) has by default.

        ``tls`` is used by ``tcp`` only; ``None`` there means plain TCP.
        """
        if self.scheme == "ssh":
            return SshEndpoint(self.host, self.user, self.port, self.path)
        if self.scheme == "unix":
            return UnixEndpoint(self.path or "/")
        default = PORT_BUILDKITD if remote else PORT_PLAIN if tls is None else PORT_TLS
        return TcpEndpoint(self.host, self.port or default, tls)


def parse_address(text: str) -> Address:
    """Take an endpoint's URL apart.

    Raises:
        ValueError: with a sentence that says what to write. Never repeats a password.
    """
    text = text.strip()
    if text and "://" not in text:
        raise ValueError(_bare(text))
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(f"not a URL; write {_example(text)}") from None
    scheme = url.scheme.lower()
    if scheme not in _SCHEMES:
        raise ValueError(
            _NO_SUCH_SCHEME.get(
                scheme, "not an endpoint; write ssh://user@host, tcp://host:port or unix:///path"
            )
        )
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("an endpoint has no blanks or control characters")
    if url.password is not None:
        raise ValueError("put keys, not passwords, into the configuration: an endpoint has none")
    if "?" in text or "#" in text:
        raise ValueError("an endpoint has no ?query and no #fragment")
    return _unix(url) if scheme == "unix" else _network(url, scheme)


def _unix(url: SplitResult) -> Address:
    if url.netloc or not url.path.startswith("/") or url.path == "/":
        raise ValueError("a socket needs its whole path: unix:///var/run/docker.sock")
    return Address("unix", path=unquote(url.path))


def _network(url: SplitResult, scheme: str) -> Address:
    if not url.hostname:
        raise ValueError(f"no host; write {_example(scheme)}")
    host = _host(url.netloc, url.hostname, scheme)
    try:
        port = url.port
    except ValueError:
        port = 0
    if port == 0 or url.netloc.endswith(":"):
        raise ValueError("the port must be a number from 1 to 65535")
    user = unquote(url.username) if url.username is not None else None
    path = unquote(url.path) if url.path not in {"", "/"} else None
    if scheme == "tcp" and path is not None:
        raise ValueError("tcp:// has no path; write tcp://host:port")
    if scheme == "tcp" and user is not None:
        raise ValueError("tcp:// has no user; certificates (tls) say who you are")
    if user is not None and not _USER.fullmatch(user):
        raise ValueError("the user must be a login name")
    return Address(scheme, host, user, port, path)


def _host(netloc: str, hostname: str, scheme: str) -> str:
    if "[" in netloc:
        try:
            ipaddress.IPv6Address(hostname)
        except ValueError:
            raise ValueError("only an IPv6 address goes into brackets") from None
        return hostname
    if netloc.rpartition("@")[2].count(":") > 1:
        raise ValueError(f"an IPv6 address goes into brackets: {scheme}://[2001:db8::1]")
    # A host that starts with a dash would be an option to some program one day.
    if not _HOST.fullmatch(hostname):
        raise ValueError(f"no such host name can be; write {_example(scheme)}")
    # urlsplit lowers the case; host names don't care, aliases in ~/.ssh/config do.
    spelled = re.search(re.escape(hostname), netloc.rpartition("@")[2], re.IGNORECASE)
    return spelled[0] if spelled else hostname


def _bare(text: str) -> str:
    if text.startswith("/"):
        return f"a socket's path needs its scheme; write unix://{text}"
    if _BARE.fullmatch(text):
        return f"an endpoint needs its scheme; write ssh://{text}"
    return "not an endpoint; write ssh://user@host, tcp://host:port or unix:///path"


def _example(text: str) -> str:
    return "tcp://host:2376" if text.startswith("tcp") else "ssh://user@host"
