"""Why an SSH server did not open the daemon's socket.

OpenSSH answers "open failed" alike for a missing socket, a missing right, a daemon that is not
there and forwarding that is switched off (``server_request_direct_streamlocal``). SFTP, which
needs no shell, tells them apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

from exporter.errors import Layer, NodeError, Reason

# The flag of a listening socket (__SO_ACCEPTCON) in the fourth column of /proc/net/unix.
_LISTENING = 0x10000

_PIECE = 32768


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
    """Tell whether a process listens on the socket; ``None`` where the node does not say.

    Every accepted connection has a row of its own with the listener's path.
    """
    pieces: list[Any] = []
    try:
        async with client.open("/proc/net/unix", "rb") as file:
            # To the end, not by the file's size: that is 0 under /proc.
            while piece := await file.read(_PIECE):
                pieces.append(piece)
    except asyncssh.SFTPError:
        return None
    rows = (line.split() for line in b"".join(pieces).splitlines()[1:])
    return any(
        int(row[3], 16) & _LISTENING
        for row in rows
        if len(row) >= 8 and row[7].decode(errors="replace") in names
    )
