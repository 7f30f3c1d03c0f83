"""Getting a page over HTTP, as from a node_exporter."""

from __future__ import annotations

from types import TracebackType
from urllib.parse import urlsplit

import aiohttp

from exporter.errors import Layer, NodeError, Reason
from exporter.transports.translate import network_error


class Fetcher:
    """An HTTP client with its pool of connections; used as an async context manager.

    It sets no deadline of its own: the caller's collection has one.
    """

    async def __aenter__(self) -> Fetcher:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), raise_for_status=True
        )
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
                return await response.text()
        except aiohttp.ClientResponseError as error:
            raise NodeError(
                Layer.TRANSPORT, Reason.PROTOCOL, f"{what} answers HTTP {error.status}"
            ) from error
        except aiohttp.ClientConnectorDNSError as error:
            raise NodeError(
                Layer.TRANSPORT, Reason.DNS, f"{what}: the name does not resolve"
            ) from error
        except (OSError, aiohttp.ClientError) as error:
            raise network_error(error, Layer.TRANSPORT, what) from error
