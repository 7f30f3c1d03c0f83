"""``/runbooks/ALERT``: what an alert means and what to do about it, from the exporter itself."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web


def runbooks() -> dict[str, str]:
    """Every page by the alert's name, as Markdown."""
    folder = files("exporter.web").joinpath("runbooks")
    return {
        page.name.removesuffix(".md"): page.read_text("utf-8")
        for page in folder.iterdir()
        if page.name.endswith(".md")
    }


class Runbooks:
    """Serves the pages as plain text: Markdown is made to be read so."""

    def __init__(self) -> None:
        self._pages = runbooks()

    async def index(self, _: web.Request) -> web.Response:
        """The names of all alerts."""
        return web.Response(text="\n".join(sorted(self._pages)) + "\n")

    async def page(self, request: web.Request) -> web.Response:
        """The page of one alert."""
        text = self._pages.get(request.match_info["alert"])
        if text is None:
            names = "\n".join(sorted(self._pages))
            return web.Response(status=404, text=f"No such alert. There are:\n\n{names}\n")
        return web.Response(text=text, headers={"X-Content-Type-Options": "nosniff"})
