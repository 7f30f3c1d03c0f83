"""Why an SSH server did not open the daemon's socket.

OpenSSH answers "open failed" alike for a missing socket, a missing right, a daemon that is not
there and forwarding that is switched off (``server_request_direct_streamlocal``). SFTP, which
needs no shell, tells them apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncssh

from exporter.errors import Layer, NodeError, Reason

# The flag of a listening socket (__SO_ACCEPTCON) in the fourth column of /proc/net/unix.
_LISTENING = 0x10000


async def why_refused(
    sftp: Callable[[], Awaitable[asyncssh.SFTPClient]], path: str, daemon: Layer
) -> NodeError:
    """Look at the socket by SFTP and say why it can't be opened.

    Without SFTP the answer is ``forwarding``, and the caller tries the other way.
    """
    down = Reason.ENGINE if daemon is Layer.ENGINE else Reason.BUILDKIT
    forwarding = NodeError(
        daemon, Reason.FORWARDING, f"the SSH server does not forward to the socket {path}"
    )
    try:
        client = await sftp()
        # The daemon may have bound either name: /var/run is a link to /run nearly everywhere.
        names = {path, str(await client.realpath(path))}
        # Opening a socket as a file always fails, but the right to write is checked first.
        await client.open(path, asyncssh.FXF_WRITE)
    except asyncssh.SFTPPermissionDenied:
        return NodeError(
            daemon, Reason.PERMISSION, f"the user has no right to write to the socket {path}"
        )
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return NodeError(daemon, down, f"the socket {path} does not exist on the node")
    except (asyncssh.SFTPError, NodeError) as error:
        if isinstance(error, NodeError):
            return forwarding
    listens = await _listens(client, names)
    if listens is False:
        return NodeError(daemon, down, f"no daemon listens on the socket {path} of the node")
    return forwarding


async def _listens(client: asyncssh.SFTPClient, names: set[str]) -> bool | None:
    """Tell whether a process listens on the socket; ``None`` where the node does not say."""
    try:
        async with client.open("/proc/net/unix", "rb") as file:
            table: bytes = await file.read()
    except asyncssh.SFTPError:
        return None
    for line in table.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 8 and columns[7].decode(errors="replace") in names:
            return bool(int(columns[3], 16) & _LISTENING)
    return False
