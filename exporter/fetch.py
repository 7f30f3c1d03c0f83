"""Getting a page over HTTP, as from a node_exporter."""

from __future__ import annotations

from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.translate import network_error

# Hundreds of times a node_exporter's page: what is larger is something else.
_MAX_PAGE = 32 * 1024 * 1024


class Fetcher:
    """An HTTP client with its pool of connections; used as an async context manager.

    It sets no deadline of its own: the caller's collection has one.
    """

    async def __aenter__(self) -> Fetcher:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def text(self, url: str) -> str:
        """Return the body of ``url``.

        :raises NodeError: with the reason; the URL's host is named, its user and password not.
        """
        what = f"the node_exporter at {urlsplit(url).hostname}"
        try:
            async with self._session.get(url) as response:
                if response.status != HTTPStatus.OK:
                    raise NodeError(
                        Layer.TRANSPORT,
                        Reason.PROTOCOL,
                        f"{what} answers HTTP {response.status}",
                    )
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _MAX_PAGE:
                        raise NodeError(
                            Layer.TRANSPORT, Reason.PROTOCOL, f"{what} sends an endless page"
                        )
                return body.decode(errors="replace")
        except aiohttp.ClientConnectorDNSError as error:
            raise NodeError(
                Layer.TRANSPORT, Reason.DNS, f"{what}: the name does not resolve"
            ) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise network_error(error.certificate_error, Layer.TRANSPORT, what) from error
        except aiohttp.ClientConnectorError as error:
            raise network_error(error.os_error, Layer.TRANSPORT, what) from error
        except OSError as error:
            raise network_error(error, Layer.TRANSPORT, what) from error
        except aiohttp.ClientError as error:
            # The text of the error can hold the URL, and so a password.
            raise NodeError(
                Layer.TRANSPORT,
                Reason.PROTOCOL,
                f"{what} answers as no HTTP server does ({type(error).__name__})",
            ) from error
