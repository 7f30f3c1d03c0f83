"""Logging in as OpenSSH's client would: keys, configuration, jump hosts, and host keys always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String

from exporter.errors import Layer, NodeError, Reason
from exporter.model import SshEndpoint
from exporter.transports.ssh_connect import SshConnection, connect
from tests.support.ssh_server import SshServer


@asynccontextmanager
async def connected(endpoint: SshEndpoint) -> AsyncIterator[SshConnection]:
    connection = await connect(endpoint)
    try:
        yield connection
    finally:
        await connection.close()


async def user_of(endpoint: SshEndpoint) -> str:
    """Log in; the name by which the server knows us."""
    async with connected(endpoint) as connection:
        return str(connection.client.get_extra_info("username"))


async def failure(endpoint: SshEndpoint) -> tuple[Reason, str]:
    with pytest.raises(NodeError) as caught:
        await connect(endpoint)
    assert caught.value.layer is Layer.TRANSPORT
    return caught.value.reason, caught.value.detail


def configure(home: Path, text: str) -> None:
    """Write the user's own SSH configuration."""
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh/config").write_text(text)


# --------------------------------------------------------------------------------------- keys


async def test_a_key_file(sshd: SshServer) -> None:
    assert await user_of(sshd.endpoint(user="builder")) == "builder"


async def test_a_key_that_the_server_does_not_accept(sshd: SshServer, tmp_path: Path) -> None:
    other = tmp_path / "other"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(other)
    reason, said = await failure(sshd.endpoint(identity_files=(other,)))
    assert reason is Reason.AUTH
    assert said == f"{sshd.endpoint().url}: the server accepts none of our keys"


@pytest.fixture
def locked(sshd: SshServer) -> Path:
    """Give the accepted key with a passphrase, as ``ssh-keygen`` writes it (needs bcrypt)."""
    path = sshd.directory / "id_locked"
    key = asyncssh.read_private_key(sshd.identity)
    key.write_private_key(path, passphrase="open sesame", rounds=50)
    key.write_public_key(f"{path}.pub")
    return path


async def test_an_encrypted_key_with_its_passphrase(sshd: SshServer, locked: Path) -> None:
    endpoint = sshd.endpoint(identity_files=(locked,), passphrase="open sesame")
    assert await user_of(endpoint) == "builder"
    assert "sesame" not in repr(endpoint)


@pytest.mark.parametrize("passphrase", [None, "wrong"])
async def test_an_encrypted_key_without_it(
    sshd: SshServer, locked: Path, passphrase: str | None
) -> None:
    reason, said = await failure(sshd.endpoint(identity_files=(locked,), passphrase=passphrase))
    assert reason is Reason.AUTH
    assert str(locked) not in said


async def test_a_damaged_key_is_not_named(sshd: SshServer, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    reason, said = await failure(sshd.endpoint(identity_files=(tmp_path / "damaged",)))
    assert reason is Reason.AUTH
    assert "our key can't be read" in said
    assert "damaged'" not in said


@pytest.mark.parametrize("what", ["identity_files", "config_files"])
async def test_a_file_that_is_not_there_is_no_matter_of_the_network(
    sshd: SshServer, tmp_path: Path, what: str
) -> None:
    changes: dict[str, Any] = {what: (tmp_path / "gone",)}
    reason, said = await failure(sshd.endpoint(**changes))
    assert reason is Reason.AUTH
    assert "can't be read: No such file" in said
    assert str(tmp_path / "gone") not in said


async def test_the_agents_keys(
    sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "agent")
    agent = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", address, stdout=-3)
    try:
        async with asyncio.timeout(10):
            while not Path(address).exists():
                await asyncio.sleep(0.01)
        async with asyncssh.connect_agent(address) as client:
            await client.add_keys([asyncssh.load_keypairs(sshd.identity)[0]])
        monkeypatch.setenv("SSH_AUTH_SOCK", address)
        assert await user_of(sshd.endpoint(identity_files=())) == "builder"
    finally:
        agent.terminate()
        await agent.wait()


# --------------------------------------------------------------------------------- host keys


async def test_a_host_that_is_not_known(sshd: SshServer, tmp_path: Path) -> None:
    for files in ((), (tmp_path / "missing",)):
        reason, said = await failure(sshd.endpoint(known_hosts=files))
        assert reason is Reason.HOST_KEY
        assert "the host's key is not the one in known_hosts, or none is there" in said


async def test_a_host_key_that_changed(sshd: SshServer) -> None:
    sshd.trust(asyncssh.generate_private_key("ssh-ed25519"))
    reason, _ = await failure(sshd.endpoint())
    assert reason is Reason.HOST_KEY


@pytest.mark.parametrize(
    "config",
    [
        "StrictHostKeyChecking no",
        "StrictHostKeyChecking off",
        "UserKnownHostsFile none",
        "UserKnownHostsFile /dev/null",
        "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null",
    ],
)
async def test_no_configuration_switches_the_check_off(
    sshd: SshServer, private_home: Path, config: str
) -> None:
    configure(private_home, config)
    reason, _ = await failure(sshd.endpoint(config_files=None, known_hosts=None))
    assert reason is Reason.HOST_KEY


async def test_the_users_known_hosts(sshd: SshServer, private_home: Path) -> None:
    (private_home / ".ssh").mkdir()
    (private_home / ".ssh/known_hosts").write_bytes(sshd.known_hosts.read_bytes())
    assert await user_of(sshd.endpoint(known_hosts=None)) == "builder"


# ----------------------------------------------------------------------------- configuration


async def test_the_users_configuration_counts(sshd: SshServer, private_home: Path) -> None:
    configure(
        private_home,
        f"Host node1\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User alice\n"
        f"  IdentityFile {sshd.identity}\n  UserKnownHostsFile {sshd.known_hosts}\n"
        "  Ciphers aes256-ctr\n",
    )
    async with connected(SshEndpoint("node1")) as connection:
        assert connection.client.get_extra_info("username") == "alice"
        assert connection.client.get_extra_info("send_cipher") == "aes256-ctr"


async def test_the_endpoint_goes_before_the_configuration(
    sshd: SshServer, private_home: Path
) -> None:
    configure(private_home, "User alice\nPort 1\n")
    assert await user_of(sshd.endpoint(user="bob", config_files=None)) == "bob"


async def test_no_configuration_files_means_not_the_users_either(
    sshd: SshServer, private_home: Path
) -> None:
    configure(private_home, "Hostname 240.0.0.1\n")
    assert await user_of(sshd.endpoint(config_files=())) == "builder"


async def test_configuration_files_of_ones_own(sshd: SshServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("User carol\n")
    endpoint = sshd.endpoint(user=None, config_files=(tmp_path / "config",))
    assert await user_of(endpoint) == "carol"


async def test_a_configuration_with_a_mistake(sshd: SshServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Port many\n")
    reason, said = await failure(sshd.endpoint(port=None, config_files=(tmp_path / "config",)))
    assert reason is Reason.PROTOCOL
    assert "the SSH configuration" in said


# -------------------------------------------------------------------------------- jump hosts


class Jump:
    """A node that is reached through two jump hosts, by the user's configuration."""

    def __init__(self, node: SshServer, jumps: list[SshServer], home: Path) -> None:
        self.node = node
        self.jumps = jumps
        self.home = home
        hops = ",".join(f"{name}@127.0.0.1:{j.port}" for name, j in zip("ab", jumps, strict=True))
        configure(home, f"Host node1\n  HostName 127.0.0.1\n  ProxyJump {hops}\n")
        known = home / ".ssh/known_hosts"
        known.write_bytes(b"\n".join(s.known_hosts.read_bytes() for s in [node, *jumps]))
        for jump in jumps:
            jump.authorized.write_bytes(node.authorized.read_bytes())

    def endpoint(self) -> SshEndpoint:
        return self.node.endpoint(host="node1", config_files=None, known_hosts=None)


@pytest.fixture
async def jump(sshd: SshServer, tmp_path: Path, private_home: Path) -> AsyncIterator[Jump]:
    async with SshServer(tmp_path / "a") as first, SshServer(tmp_path / "b") as second:
        yield Jump(sshd, [first, second], private_home)


async def test_through_jump_hosts(jump: Jump) -> None:
    async with connected(jump.endpoint()):
        assert [len(server.connections) for server in (*jump.jumps, jump.node)] == [1, 1, 1]
        assert jump.jumps[0].connections[0].get_extra_info("username") == "a"
    for server in (*jump.jumps, jump.node):
        async with asyncio.timeout(10):
            await server.connections[0].wait_closed()


async def test_a_jump_hosts_key_is_checked_as_any(jump: Jump) -> None:
    (jump.home / ".ssh/known_hosts").write_bytes(jump.node.known_hosts.read_bytes())
    assert (await failure(jump.endpoint()))[0] is Reason.HOST_KEY
    assert not jump.node.connections


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (asyncssh.OPEN_CONNECT_FAILED, "Connection refused", Reason.REFUSED),
        (asyncssh.OPEN_CONNECT_FAILED, "Connection timed out", Reason.TIMEOUT),
        (asyncssh.OPEN_CONNECT_FAILED, "Name or service not known", Reason.DNS),
        (asyncssh.OPEN_CONNECT_FAILED, "Temporary failure in name resolution", Reason.DNS),
        (asyncssh.OPEN_CONNECT_FAILED, "No route to host", Reason.UNREACHABLE),
        (asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed", Reason.FORWARDING),
    ],
)
async def test_what_the_jump_host_says_of_the_node(
    jump: Jump, code: int, said: str, reason: Reason
) -> None:
    """These are OpenSSH's answers."""
    jump.jumps[-1].refusal = (code, said)
    told, text = await failure(jump.endpoint())
    assert told is reason
    assert text.endswith(f"the jump host says: {said}")


async def test_a_jump_that_is_no_address(sshd: SshServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("ProxyJump user@host:port:more\n")
    reason, said = await failure(sshd.endpoint(config_files=(tmp_path / "config",)))
    assert reason is Reason.PROTOCOL
    assert "ProxyJump" in said


# ----------------------------------------------------------------------- what does not answer


async def test_a_closed_port(sshd: SshServer) -> None:
    await sshd.stop()
    reason, said = await failure(sshd.endpoint())
    assert (reason, said) == (Reason.REFUSED, f"{sshd.endpoint().url}: connection refused")


async def test_a_name_that_does_not_resolve() -> None:
    assert (await failure(SshEndpoint("node1.invalid", config_files=())))[0] is Reason.DNS


async def test_no_route() -> None:
    endpoint = SshEndpoint("255.255.255.255", config_files=())
    assert (await failure(endpoint))[0] is Reason.UNREACHABLE


@asynccontextmanager
async def saying(text: bytes) -> AsyncIterator[SshEndpoint]:
    """Give the endpoint of a server that says only this."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        try:
            await reader.read()
        finally:
            writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield SshEndpoint("127.0.0.1", port=port, config_files=(), connect_timeout=0.3)


async def test_a_server_that_says_nothing() -> None:
    async with saying(b"") as endpoint:
        assert (await failure(endpoint))[0] is Reason.TIMEOUT


async def test_a_server_that_speaks_another_version() -> None:
    async with saying(b"SSH-1.5-old\r\n") as endpoint:
        assert (await failure(endpoint))[0] is Reason.PROTOCOL


# -------------------------------------------------------------------------------------- cost


@pytest.mark.parametrize(("cipher", "packets"), [("aes128-gcm@openssh.com", 5), ("aes128-cbc", 10)])
async def test_only_ciphers_that_need_it_get_an_empty_packet_before_each(
    tmp_path: Path, cipher: str, packets: int
) -> None:
    """asyncssh sends one always; it costs both sides as much as the packet behind it."""
    (tmp_path / "config").write_text(f"Ciphers {cipher}\n")
    async with (
        SshServer(tmp_path / "sshd", ciphers=[cipher]) as sshd,
        connected(sshd.endpoint(config_files=(tmp_path / "config",))) as connection,
    ):
        assert connection.client.get_extra_info("send_cipher") == cipher
        before = connection.client._send_seq
        for _ in range(5):
            connection.client.send_packet(MSG_GLOBAL_REQUEST, String(b"hello"), Boolean(False))
        assert connection.client._send_seq - before == packets
