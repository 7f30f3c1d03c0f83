"""One kept SSH connection, and what goes over it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import asyncssh
import pytest

from exporter.errors import Layer, NodeError, Reason, UnsupportedError
from exporter.model import SshEndpoint
from exporter.transports.base import Backoff
from exporter.transports.duplex import Duplex
from exporter.transports.ssh import SshTransport
from tests.support.relay import Relay
from tests.support.ssh_server import SshServer, pipe_to

Process = asyncssh.SSHServerProcess[bytes]


@asynccontextmanager
async def transport(
    endpoint: SshEndpoint, daemon: Layer = Layer.ENGINE, cap: float = 0.0
) -> AsyncIterator[SshTransport]:
    there = SshTransport(endpoint, daemon, Backoff(cap, Random(1)))
    try:
        yield there
    finally:
        await there.close()


async def hello(there: SshTransport) -> bytes:
    stream = await there.dial()
    stream.write(b"hello")
    said = await stream.read(100)
    stream.close()
    return said


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_many_streams_share_one_connection(sshd: SshServer, daemon: Path) -> None:
    async with transport(sshd.endpoint(daemon)) as there:
        assert await asyncio.gather(*(hello(there) for _ in range(20))) == 20 * [b"HTTP/1.1 hello"]
        await there.statvfs(str(daemon.parent))
        await there.probe()
        assert there.connects == 1
        assert len(sshd.connections) == 1
        assert await there.certificates() is None


async def test_large_answers_arrive_whole(sshd: SshServer, daemon: Path) -> None:
    """More than a channel's window, while the reader is slow."""
    async with transport(sshd.endpoint(daemon)) as there:
        stream = await there.dial()
        sent = b"x" * 5_000_000
        stream.write(sent)
        draining = asyncio.create_task(stream.drain())
        got = b""
        while got.count(b"x") < len(sent):
            got += await stream.read(300_000)
        await draining
        stream.close()


async def test_statvfs_is_the_filesystem_as_the_node_sees_it(sshd: SshServer, daemon: Path) -> None:
    async with transport(sshd.endpoint(daemon)) as there:
        disk = await there.statvfs("/")
    truth = os.statvfs("/")
    assert (disk.path, disk.size) == ("/", truth.f_blocks * truth.f_frsize)
    assert disk.inodes == truth.f_files
    assert 0 < disk.available <= disk.size


async def test_statvfs_of_a_missing_path_is_unsupported(sshd: SshServer) -> None:
    async with transport(sshd.endpoint()) as there:
        with pytest.raises(UnsupportedError, match="/missing does not exist"):
            await there.statvfs("/missing")


class NoStatvfs(asyncssh.SFTPServer):
    def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
        raise asyncssh.SFTPOpUnsupported("unknown")


class Forbidden(asyncssh.SFTPServer):
    def statvfs(self, path: bytes) -> asyncssh.SFTPVFSAttrs:
        raise asyncssh.SFTPPermissionDenied("no")


async def test_an_sftp_server_without_statvfs_is_unsupported(sshd: SshServer) -> None:
    await sshd.stop()
    sshd.sftp = NoStatvfs
    await sshd.start()
    async with transport(sshd.endpoint()) as there:
        with pytest.raises(UnsupportedError, match="does not know statvfs@"):
            await there.statvfs("/")


async def test_a_path_that_we_may_not_look_at(sshd: SshServer) -> None:
    await sshd.stop()
    sshd.sftp = Forbidden
    await sshd.start()
    async with transport(sshd.endpoint()) as there:
        with pytest.raises(NodeError, match="may not look at /secret") as caught:
            await there.statvfs("/secret")
    assert (caught.value.layer, caught.value.reason) == (Layer.TRANSPORT, Reason.PERMISSION)


async def test_without_sftp_a_look_at_the_disk_is_unsupported_and_a_probe_answered(
    tmp_path: Path,
) -> None:
    async with SshServer(tmp_path, sftp=None) as sshd, transport(sshd.endpoint()) as there:
        with pytest.raises(UnsupportedError, match="no sftp subsystem"):
            await there.statvfs("/")
        await there.probe()


async def test_a_broken_connection_is_made_again(sshd: SshServer, daemon: Path) -> None:
    async with transport(sshd.endpoint(daemon)) as there:
        stream = await there.dial()
        await sshd.cut()
        # The server says goodbye or not: either way the stream is over.
        await asyncio.wait([asyncio.ensure_future(_end_of(stream))], timeout=10)
        assert await hello(there) == b"HTTP/1.1 hello"
        assert there.connects == 2


async def _end_of(stream: Duplex) -> None:
    try:
        while await stream.read(100):
            pass
    except NodeError as error:
        assert error.layer is Layer.TRANSPORT  # noqa: PT017 - a plain end is as good


def trust(sshd: SshServer, relay: Relay) -> None:
    """Let the relay's port have the server's host key."""
    lines = sshd.known_hosts.read_bytes()
    sshd.known_hosts.write_bytes(lines.replace(b"%d" % sshd.port, b"%d" % relay.port))


async def test_a_peer_that_falls_silent_is_noticed(sshd: SshServer, daemon: Path) -> None:
    async with Relay(sshd.port) as relay:
        trust(sshd, relay)
        endpoint = sshd.endpoint(daemon, port=relay.port, keepalive=0.05)
        async with transport(endpoint) as there:
            stream = await there.dial()
            relay.freeze()
            async with asyncio.timeout(10):
                with pytest.raises(NodeError, match="no answer to keepalives") as caught:
                    await stream.read(100)
    assert (caught.value.layer, caught.value.reason) == (Layer.TRANSPORT, Reason.TIMEOUT)


async def test_a_node_that_is_down_is_not_asked_over_and_over(
    sshd: SshServer, daemon: Path
) -> None:
    await sshd.stop()
    async with Relay(sshd.port) as relay:
        async with transport(sshd.endpoint(daemon, port=relay.port), cap=600.0) as there:
            reasons = []
            for _ in range(20):
                with pytest.raises(NodeError) as caught:
                    await there.dial()
                reasons.append(caught.value.reason)
        assert relay.accepted == 1
    assert len(set(reasons)) == 1


async def test_callers_that_give_up_leave_the_attempt_to_the_others(
    sshd: SshServer, daemon: Path
) -> None:
    async with transport(sshd.endpoint(daemon)) as there:
        first = asyncio.create_task(there.dial())
        second = asyncio.create_task(hello(there))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"HTTP/1.1 hello"
        assert there.connects == 1


async def test_reset_ends_streams_and_the_next_request_connects_anew(
    sshd: SshServer, daemon: Path
) -> None:
    async with transport(sshd.endpoint(daemon)) as there:
        stream = await there.dial()
        there.reset()
        assert await stream.read(1) == b""
        assert await hello(there) == b"HTTP/1.1 hello"
        assert there.connects == 2


async def test_close_during_an_attempt_ends_it(sshd: SshServer, daemon: Path) -> None:
    async with Relay(sshd.port) as relay:
        relay.freeze()
        there = SshTransport(
            sshd.endpoint(daemon, port=relay.port), Layer.ENGINE, Backoff(0.0, Random(1))
        )
        waiting = asyncio.create_task(there.dial())
        await until(lambda: relay.accepted == 1)
        await there.close()
        with pytest.raises(NodeError, match="given up"):
            await waiting


async def test_reset_during_an_attempt_lets_it_go_on(sshd: SshServer, daemon: Path) -> None:
    """Or a node that takes longer to connect to than a look may last would never be reached."""
    async with Relay(sshd.port) as relay:
        trust(sshd, relay)
        relay.freeze()
        async with transport(sshd.endpoint(daemon, port=relay.port)) as there:
            waiting = asyncio.create_task(hello(there))
            await until(lambda: relay.accepted == 1)
            there.reset()
            relay.thaw()
            assert await waiting == b"HTTP/1.1 hello"
            assert there.connects == 1


# ------------------------------------------------------------------ where forwarding is refused


def refusing(tmp_path: Path, command: Callable[[Process], Awaitable[None]]) -> SshServer:
    return SshServer(tmp_path / "refusing", forwards=False, command=command)


async def test_dial_stdio_is_the_other_way(tmp_path: Path, daemon: Path) -> None:
    """It is tried out once; from then on it is the way, one command for each stream."""
    async with (
        refusing(tmp_path, pipe_to(daemon)) as sshd,
        transport(sshd.endpoint(daemon)) as there,
    ):
        assert [await hello(there) for _ in range(2)] == 2 * [b"HTTP/1.1 hello"]
        command = f"docker -H unix://{daemon} system dial-stdio"
        await until(lambda: len(sshd.commands) == 3)
        assert sshd.commands == 3 * [command]


async def test_a_bare_buildkitd_has_a_command_of_its_own(tmp_path: Path, daemon: Path) -> None:
    async def settings(process: Process) -> None:
        await process.stdin.read(1)
        process.stdout.write(b"\0\0\0\4\0\0\0\0\0")
        process.exit(0)

    async with (
        refusing(tmp_path, settings) as sshd,
        transport(sshd.endpoint(daemon), Layer.BUILDKIT) as there,
    ):
        (await there.dial()).close()
        assert sshd.commands[0] == f"buildctl --addr unix://{daemon} dial-stdio"


async def test_what_the_command_says_on_stderr_is_not_the_daemons(
    tmp_path: Path, daemon: Path
) -> None:
    async def warn_first(process: Process) -> None:
        process.stderr.write(b"WARNING: DOCKER_INSECURE_NO_IPTABLES_RAW is set\n")
        await pipe_to(daemon)(process)

    async with refusing(tmp_path, warn_first) as sshd, transport(sshd.endpoint(daemon)) as there:
        assert await hello(there) == b"HTTP/1.1 hello"


async def mute(process: Process) -> None:
    await process.stdin.read(1)
    process.exit(1)


async def sftp_bytes(process: Process) -> None:
    """What ``command="internal-sftp"`` may say to whatever was asked for."""
    await process.stdin.read(1)
    process.stdout.write(b"\0\0\0\5\2\0\0\0\3")
    process.exit(0)


async def complaint(process: Process) -> None:
    process.stderr.write(b"docker: command not found\n")
    process.exit(127)


@pytest.mark.parametrize("command", [mute, sftp_bytes, complaint])
@pytest.mark.parametrize("layer", [Layer.ENGINE, Layer.BUILDKIT])
async def test_a_forced_command_is_not_taken_for_a_daemon(
    tmp_path: Path, daemon: Path, command: Callable[[Process], Awaitable[None]], layer: Layer
) -> None:
    async with (
        refusing(tmp_path, command) as sshd,
        transport(sshd.endpoint(daemon), layer) as there,
    ):
        with pytest.raises(NodeError, match="does not forward to the socket") as caught:
            await there.dial()
    assert (caught.value.layer, caught.value.reason) == (layer, Reason.FORWARDING)


async def test_without_commands_it_is_forwarding_that_is_missing(
    tmp_path: Path, daemon: Path
) -> None:
    async with (
        SshServer(tmp_path / "sshd", forwards=False) as sshd,
        transport(sshd.endpoint(daemon)) as there,
    ):
        with pytest.raises(NodeError) as caught:
            await there.dial()
    assert (caught.value.layer, caught.value.reason) == (Layer.ENGINE, Reason.FORWARDING)
