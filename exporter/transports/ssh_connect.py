"""Making an SSH connection as OpenSSH's client would, but never to an unknown host key.

The user's SSH configuration counts (HostName, User, Port, IdentityFile, ProxyJump, …), with one
exception: nothing in it can switch the check of host keys off.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.constants import MSG_IGNORE

from exporter.errors import Layer, NodeError, Reason
from exporter.model import SshEndpoint
from exporter.transports.translate import network_error

_JUMP = re.compile(r"^(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?$")

# asyncssh takes an empty text for "use the default file"; a comment is known hosts without any.
_NO_KNOWN_HOSTS = b"#\n"

_KEEPALIVES_MISSED = 2

# AES-GCM is one operation per packet here, ChaCha20 is four: our packets are many and small, so
# this halves what SSH costs. The rest is asyncssh's own order. "Ciphers" in the SSH
# configuration has the last word.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)


class SshConnection:
    """A connection with the jump hosts below it."""

    def __init__(
        self, client: asyncssh.SSHClientConnection, jumps: list[asyncssh.SSHClientConnection]
    ) -> None:
        self.client = client
        self._jumps = jumps

    @property
    def closed(self) -> bool:
        """Whether it broke or was ended."""
        return self.client.is_closed()

    def abort(self) -> None:
        """End it at once."""
        for connection in [self.client, *reversed(self._jumps)]:
            connection.abort()

    async def close(self) -> None:
        """End it in order, within two seconds."""
        try:
            async with asyncio.timeout(2.0):
                for connection in [self.client, *reversed(self._jumps)]:
                    connection.close()
                    await connection.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            self.abort()


async def connect(endpoint: SshEndpoint) -> SshConnection:
    """Connect and log in, through jump hosts where the SSH configuration names any.

    :raises NodeError: of the layer transport, with the reason.
    """
    jumps: list[asyncssh.SSHClientConnection] = []
    try:
        async with asyncio.timeout(endpoint.connect_timeout):
            client = await _connect(endpoint, jumps)
    except BaseException as error:
        for jump in reversed(jumps):
            jump.abort()
        if isinstance(error, Exception):
            raise ssh_error(error, endpoint) from error
        raise
    return SshConnection(client, jumps)


async def _connect(
    endpoint: SshEndpoint, jumps: list[asyncssh.SSHClientConnection], depth: int = 0
) -> asyncssh.SSHClientConnection:
    options = await asyncio.to_thread(_options, endpoint)
    tunnel: asyncssh.SSHClientConnection | None = None
    if isinstance(options.tunnel, str) and depth == 0:
        for hop in options.tunnel.split(","):
            match = _JUMP.match(hop.strip())
            if match is None:
                raise NodeError(
                    Layer.TRANSPORT, Reason.PROTOCOL, f"ProxyJump {hop!r} is not [user@]host[:port]"
                )
            through = SshEndpoint(
                host=match["host"].strip("[]"),
                user=match["user"],
                port=int(match["port"]) if match["port"] else None,
                identity_files=endpoint.identity_files,
                known_hosts=endpoint.known_hosts,
                config_files=endpoint.config_files,
                passphrase=endpoint.passphrase,
                keepalive=endpoint.keepalive,
            )
            tunnel = await _open(through, await asyncio.to_thread(_options, through), tunnel)
            jumps.append(tunnel)
    return await _open(endpoint, options, tunnel)


async def _open(
    endpoint: SshEndpoint,
    options: asyncssh.SSHClientConnectionOptions,
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    known = await asyncio.to_thread(_known_hosts, endpoint, options)
    settings: dict[str, Any] = {
        "known_hosts": known,
        "tunnel": tunnel,
        "client_keys": [str(path) for path in endpoint.identity_files] or (),
        "passphrase": endpoint.passphrase,
        "ignore_encrypted": True,
    }
    if not options.config.get("Ciphers"):
        settings["encryption_algs"] = _CIPHERS
    client = await asyncssh.connect(endpoint.host, options=options, **settings)
    _save_packets(client)
    return client


def _save_packets(client: asyncssh.SSHClientConnection) -> None:
    """Keep asyncssh from sending an empty packet before each one.

    That hides the IV which the next packet's encryption starts from, a weakness of CBC ciphers
    only (RFC 4251, 9.3.1). It costs both ends as much as the packet itself.
    """
    if client.get_extra_info("send_cipher", "").endswith("-cbc"):
        return
    send = client.send_packet

    def send_packet(kind: int, *args: bytes, **kwargs: Any) -> None:
        if kind != MSG_IGNORE:
            send(kind, *args, **kwargs)

    client.send_packet = send_packet  # type: ignore[method-assign, assignment]


def _options(endpoint: SshEndpoint) -> asyncssh.SSHClientConnectionOptions:
    """Combine the endpoint with the user's SSH configuration. Blocks: reads files.

    Keys are left out here: to decrypt one takes long on purpose.
    """
    settings: dict[str, Any] = {
        "host": endpoint.host,
        "keepalive_interval": endpoint.keepalive,
        "keepalive_count_max": _KEEPALIVES_MISSED,
        "client_keys": None,
    }
    if endpoint.user is not None:
        settings["username"] = endpoint.user
    if endpoint.port is not None:
        settings["port"] = endpoint.port
    if endpoint.config_files is None:
        settings["config"] = ()  # the user's own; left out, asyncssh would take none
    else:
        # An empty list would mean the user's own when the options are used.
        settings["config"] = [str(path) for path in endpoint.config_files] or [os.devnull]
    return asyncssh.SSHClientConnectionOptions(**settings)


def _known_hosts(endpoint: SshEndpoint, options: asyncssh.SSHClientConnectionOptions) -> bytes:
    """Read the known hosts files that exist. Never "accept any", whatever the files say."""
    if endpoint.known_hosts is not None:
        files = [path.expanduser() for path in endpoint.known_hosts]
    elif options.known_hosts is None:  # "UserKnownHostsFile none"
        files = []
    elif isinstance(options.known_hosts, list | tuple) and options.known_hosts:
        files = [Path(str(name)).expanduser() for name in options.known_hosts]
    else:
        files = [Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")]
    texts = [path.read_bytes() for path in files if path.is_file()]
    return b"\n".join([_NO_KNOWN_HOSTS, *texts])


# What OpenSSH passes on from the C library when it can't connect further.
_CHANNEL_REASONS = (
    ("Name or service", Reason.DNS),
    ("name resolution", Reason.DNS),
    ("refused", Reason.REFUSED),
    ("timed out", Reason.TIMEOUT),
)


def ssh_error(error: Exception, endpoint: SshEndpoint) -> NodeError:
    """Translate an exception of asyncssh or of the socket below it."""
    what = endpoint.url
    if isinstance(error, NodeError):
        return error
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return NodeError(
            Layer.TRANSPORT,
            Reason.HOST_KEY,
            f"{what}: the host's key is not the one in known_hosts, or none is there",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return NodeError(
            Layer.TRANSPORT, Reason.AUTH, f"{what}: the server accepts none of our keys"
        )
    if isinstance(error, asyncssh.KeyImportError | asyncssh.KeyEncryptionError):
        # The text of the error can name the key's file.
        return NodeError(
            Layer.TRANSPORT,
            Reason.AUTH,
            f"{what}: our key can't be read: it is damaged, or its passphrase is wrong",
        )
    if isinstance(error, OSError) and error.filename is not None:
        # The same for a file that is not there, or not ours to read.
        return NodeError(
            Layer.TRANSPORT,
            Reason.AUTH,
            f"{what}: a file of our SSH keys or configuration can't be read: {error.strerror}",
        )
    if isinstance(error, asyncssh.ConfigParseError):
        return NodeError(
            Layer.TRANSPORT, Reason.PROTOCOL, f"{what}: the SSH configuration: {error}"
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        said = f"{what}: the jump host says: {error.reason}"
        if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
            return NodeError(Layer.TRANSPORT, Reason.FORWARDING, said)
        reasons = (reason for text, reason in _CHANNEL_REASONS if text in error.reason)
        return NodeError(Layer.TRANSPORT, next(reasons, Reason.UNREACHABLE), said)
    if isinstance(error, asyncssh.ConnectionLost) and "keepalive" in error.reason:
        return NodeError(Layer.TRANSPORT, Reason.TIMEOUT, f"{what}: no answer to keepalives")
    if isinstance(error, asyncssh.Error):
        return NodeError(Layer.TRANSPORT, Reason.PROTOCOL, f"{what}: SSH: {error.reason}")
    return network_error(error, Layer.TRANSPORT, what)
