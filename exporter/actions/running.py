"""Whether builds run on a builder now."""

from __future__ import annotations

import asyncio

from exporter.buildkit.control import Control
from exporter.buildkit.node import NodeClient
from exporter.errors import RemoteError
from exporter.model import Builder

_ASK_TIMEOUT = 10.0


async def running_builds(client: NodeClient, builder: Builder) -> int | None:
    """Ask how many builds run, over a connection made for it.

    ``None``: it did not say in time, or said only that something is wrong with it.

    :raises NodeError: when it can't be asked.
    """
    control = client.new_control(builder)
    try:
        async with asyncio.timeout(_ASK_TIMEOUT):
            return await _count(control)
    except (RemoteError, TimeoutError):
        return None
    finally:
        control.close()


async def _count(control: Control) -> int:
    """Before Engine 23.0 nobody knows; there records in use mean one."""
    number = await control.running_builds()
    if number is not None:
        return number
    return int(any(record.InUse for record in await control.disk_usage()))
