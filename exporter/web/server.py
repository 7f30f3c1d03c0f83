"""The HTTP server: metrics, health, a landing page."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.resources import files

from aiohttp import hdrs, web
from jinja2 import Environment, select_autoescape

from exporter import __version__
from exporter.canaries import Step
from exporter.snapshots import Snapshots
from exporter.web.accept import accepts_gzip, favourites
from exporter.web.alerts import AlertApi
from exporter.web.canaries import CanaryApi
from exporter.web.prunes import PruneApi
from exporter.web.route import RouteApi
from exporter.web.runbook_pages import Runbooks

# Below this many bytes compressing on the event loop is cheaper than asking a thread to.
_COMPRESS_HERE = 16384

# A scraper that reads nothing is not waited for.
_SHUTDOWN_TIMEOUT = 1.0

Render = Callable[[str], tuple[str, bytes]]
"""Makes the page of metrics for an ``Accept`` header: its content type and its text."""


class Server:
    """Answers from what is known; no request waits for a node."""

    def __init__(
        self,
        snapshots: Snapshots,
        render: Render,
        prunes: PruneApi,
        route: RouteApi,
        canaries: CanaryApi | None = None,
        alerts: AlertApi | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._render = render
        self._prunes = prunes
        self._route = route
        self._canaries = canaries or CanaryApi(None)
        self._alerts = alerts or AlertApi(list)
        self._runbooks = Runbooks()
        environment = Environment(autoescape=select_autoescape(default=True))
        source = files("exporter.web").joinpath("landing.html.jinja").read_text("utf-8")
        self._landing = environment.from_string(source)
        self._runner: web.AppRunner | None = None
        # Its own: the loop's threads may all be waiting for a resolver.
        self._compressors = ThreadPoolExecutor(1, thread_name_prefix="compress")

    async def start(self, host: str | None, port: int) -> list[str]:
        """Listen; the URLs that answer now.

        :raises OSError: when the address can't be listened on.
        """
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/api/v1/prunes", self._prunes.prunes)
        app.router.add_get("/api/v1/canaries", self._canaries.canaries)
        app.router.add_get("/api/v1/alerts", self._alerts.alerts)
        app.router.add_get("/runbooks", self._runbooks.index)
        app.router.add_get("/runbooks/{alert}", self._runbooks.page)
        # A HEAD request does not build.
        app.router.add_get("/api/v1/route", self._route.route, allow_head=False)
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError:
            await self.stop()
            raise
        # IPv4 and IPv6 have a socket each, and one name here.
        return list(dict.fromkeys(_url(address) for address in self._runner.addresses))

    async def stop(self) -> None:
        """Stop listening and end what is open."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._compressors.shutdown(wait=False)

    async def _metrics(self, request: web.Request) -> web.Response:
        content_type, body = self._render(favourites(request.headers.get(hdrs.ACCEPT, "")))
        response = web.Response(
            body=body,
            headers={hdrs.CONTENT_TYPE: content_type, hdrs.VARY: "Accept, Accept-Encoding"},
            zlib_executor=self._compressors,
            zlib_executor_size=_COMPRESS_HERE,
        )
        if accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, "")):
            response.enable_compression(web.ContentCoding.gzip)
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
        html = self._landing.render(
            version=__version__,
            snapshots=self._snapshots.all(),
            decisions=[decision for decision in self._prunes.decisions() if decision.trigger],
            canaries=self._canaries.latest(),
            steps=tuple(Step),
            when=_when,
            alerts=self._alerts.firing(),
        )
        return web.Response(
            text=html,
            content_type="text/html",
            headers={
                "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
                "X-Content-Type-Options": "nosniff",
            },
        )


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%d %b %H:%M} UTC"


def _url(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = address[0], address[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
