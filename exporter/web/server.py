"""The HTTP server: metrics, health, a landing page."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import hdrs, web
from jinja2 import Environment, select_autoescape

from exporter import __version__
from exporter.exposition.page import Page
from exporter.snapshots import Snapshots

# Below this many bytes compressing on the event loop is cheaper than asking a thread to.
_COMPRESS_HERE = 16384


class Server:
    """Answers from what is known; no request waits for a node."""

    def __init__(self, snapshots: Snapshots, page: Page) -> None:
        self._snapshots = snapshots
        self._page = page
        environment = Environment(autoescape=select_autoescape(default=True))
        source = files("exporter.web").joinpath("landing.html.jinja").read_text("utf-8")
        self._landing = environment.from_string(source)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str | None, port: int) -> list[str]:
        """Listen; the URLs that answer now.

        :raises OSError: when the address can't be listened on.
        """
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        return [_url(address) for address in self._runner.addresses]

    async def stop(self) -> None:
        """Stop listening and end what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        content_type, body = self._page.render(request.headers.get(hdrs.ACCEPT, ""))
        response = web.Response(
            body=body,
            headers={hdrs.CONTENT_TYPE: content_type},
            zlib_executor_size=_COMPRESS_HERE,
        )
        response.enable_compression()
        return response

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.Response(text="buildfarm-exporter is healthy.\n")

    async def _ready(self, _: web.Request) -> web.Response:
        waiting = [s.node.name for s in self._snapshots.all() if s.reachability is None]
        if waiting:
            names = ", ".join(waiting[:5]) + (", …" if len(waiting) > 5 else "")
            return web.Response(status=503, text=f"Not yet looked at: {names}.\n")
        return web.Response(text="buildfarm-exporter is ready.\n")

    async def _index(self, _: web.Request) -> web.Response:
        html = self._landing.render(version=__version__, snapshots=self._snapshots.all())
        return web.Response(
            text=html,
            content_type="text/html",
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
                "X-Content-Type-Options": "nosniff",
            },
        )


def _url(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[0], address[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
