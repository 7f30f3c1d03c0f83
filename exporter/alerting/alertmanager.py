"""Telling Alertmanager (API v2). Each replica has a sender of its own: none waits for another.

Alertmanager keeps an alert until its ``endsAt``, so what is firing is sent again and again, and one
POST always holds everything that is current. A replica that was away gets just that.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from random import Random
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import structlog

from exporter.alerts import AlertmanagerSettings

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Payload = Sequence[Mapping[str, Any]]
"""Alerts as the API takes them."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
# Of an answer that says what is wrong, so much is worth a line in the log.
_SAID = 300


class SendMetrics(Protocol):
    """Counts what is sent to one Alertmanager."""

    def sent(self, url: str, number: int) -> None:
        """Count alerts that arrived."""
        ...

    def failed(self, url: str, number: int) -> None:
        """Count alerts that did not."""
        ...

    def waiting(self, url: str, number: int) -> None:
        """Show how many wait to be sent."""
        ...


class Alertmanager:
    """One Alertmanager; used as an async context manager, and run as a task.

    :raises OSError, ssl.SSLError: on entering, when its TLS files can't be read.
    """

    def __init__(self, settings: AlertmanagerSettings, metrics: SendMetrics, rng: Random) -> None:
        self._settings = settings
        self._metrics = metrics
        self._rng = rng
        self._offered = asyncio.Event()
        self._latest: Payload = ()
        self._latest_at = -inf
        self.told_at = -inf
        """As of when it knows everything."""
        self._broken = False
        self._server_name = settings.tls.server_name if settings.tls else None
        address = urlsplit(settings.url)
        host = address.hostname or ""
        self.name = (
            f"{address.scheme}://"
            + (f"[{host}]" if ":" in host else host)
            + (f":{address.port}" if address.port else "")
            + address.path.rstrip("/")
        )
        """The address without what is secret in it: no user, no password, no query."""

    async def __aenter__(self) -> Alertmanager:
        settings = self._settings
        headers = {}
        if settings.bearer_token is not None:
            headers["Authorization"] = f"Bearer {settings.bearer_token}"
        if settings.username is not None:
            said = f"{settings.username}:{settings.password or ''}".encode()
            headers["Authorization"] = f"Basic {b64encode(said).decode()}"
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=settings.timeout),
            connector=aiohttp.TCPConnector(ssl=await asyncio.to_thread(_tls, settings), limit=1),
            headers=headers,
        )
        self._metrics.waiting(self.name, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    def offer(self, alerts: Payload, at: float) -> None:
        """Take what is current ``at`` a time; it takes the place of what waits to be sent."""
        self._latest, self._latest_at = alerts, at
        self._metrics.waiting(self.name, len(alerts))
        self._offered.set()

    async def run(self) -> None:
        """Send what is offered, and try again what does not arrive, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._offered.wait()
            self._offered.clear()
            alerts, at = self._latest, self._latest_at
            try:
                problem = await self._send(alerts)
            except Exception as bug:  # must not end the others' senders
                log.exception("alerts can't be sent: unexpected", alertmanager=self.name)
                problem, self._broken = f"unexpected {type(bug).__name__}", True
                self._metrics.failed(self.name, len(alerts))
            if problem is None:
                self.told_at = at
                pause = _FIRST_PAUSE
                if not self._offered.is_set():
                    self._metrics.waiting(self.name, 0)
                continue
            self._offered.set()
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _send(self, alerts: Payload) -> str | None:
        """Send; what went wrong, for people."""
        problem = await self._post(alerts) if alerts else None
        if problem is not None:
            self._metrics.failed(self.name, len(alerts))
            if not self._broken:
                log.error("can't tell Alertmanager", alertmanager=self.name, error=problem)
        elif alerts:
            self._metrics.sent(self.name, len(alerts))
            if self._broken:
                log.info("Alertmanager hears again", alertmanager=self.name)
        self._broken = problem is not None
        return problem

    async def _post(self, alerts: Payload) -> str | None:
        url = self._settings.url.rstrip("/") + "/api/v2/alerts"
        try:
            async with self._session.post(
                url,
                json=alerts,
                server_hostname=self._server_name,
                # Followed, a POST becomes a GET: an answer, and nothing told.
                allow_redirects=False,
            ) as answer:
                if answer.status < 300:
                    return None
                if (elsewhere := answer.headers.get("Location")) is not None:
                    return f"HTTP {answer.status}: it is at {elsewhere.partition('?')[0][:_SAID]}"
                said = " ".join((await answer.text(errors="replace")).split())[:_SAID]
                return f"HTTP {answer.status}" + (f": {said}" if said else "")
        except TimeoutError:
            return f"no answer within {self._settings.timeout:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return _said(error)


def _said(error: Exception) -> str:
    """What the system says; the text of some errors holds the URL with its password."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate: {cause.verify_message}"
    # The number of TLS's errors is not the system's.
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {(cause.reason or str(cause)).lower().replace('_', ' ')}"
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return "it ended the connection without an answer"
    return getattr(cause, "strerror", None) or type(error).__name__


def moment(seconds: float) -> str:
    """A point in time as the API takes it (RFC 3339)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _tls(settings: AlertmanagerSettings) -> ssl.SSLContext:
    """Read the certificates. Blocks."""
    files = settings.tls
    context = ssl.create_default_context(cafile=files.ca if files else None)
    if files is not None and files.cert is not None:
        context.load_cert_chain(files.cert, files.key)
    return context
