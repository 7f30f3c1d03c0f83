"""How the API says what is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiohttp import web


def problem(status: int, detail: str, **more: Any) -> web.Response:
    """Answer with an error: ``detail`` is for people, ``more`` for programs."""
    return web.json_response({"status": status, "detail": detail, **more}, status=status)


def unknown_parameters(request: web.Request, known: Collection[str]) -> web.Response | None:
    """Complain of parameters that are not known; ``None``: there are none."""
    unknown = sorted(set(request.query) - set(known))
    return problem(400, f"unknown parameter: {', '.join(unknown)}") if unknown else None
