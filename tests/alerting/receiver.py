"""An Alertmanager that only remembers what it is sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.pki import Issued


@dataclass
class Receiver:
    """A server on loopback."""

    url: str = ""
    status: int = 200
    location: str | None = None
    posts: list[list[dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    silent: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        while self.silent:
            await asyncio.sleep(0.02)
        async with self._changed:
            self.posts.append(body)
            self.headers.append(dict(request.headers))
            self._changed.notify_all()
        if self.location is not None:
            return web.Response(status=self.status, headers={"Location": self.location})
        return web.Response(status=self.status, text="no such thing" if self.status >= 400 else "")

    async def until(self, number: int) -> None:
        """Wait until so many posts came."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.posts) >= number)


@asynccontextmanager
async def receiving(tls: Issued | None = None) -> AsyncIterator[Receiver]:
    """Run one."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/api/v2/alerts", receiver.answer)
    # As the real one does.
    app.router.add_get("/api/v2/alerts", _present)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls.cert, tls.key)
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        receiver.silent = False
        await runner.cleanup()


async def _present(_: web.Request) -> web.Response:
    return web.json_response([])
