"""The wire: one request, one response, nothing else. Pooled connections, hard bounds.

A thin layer over aiohttp. It was chosen by measurement: the official SDKs spend many times the
processor time of the wire on each call (``benchmarks/review_clean.py``). They still say where a
request goes and how it is signed (``reviewers.dialects``).

No redirect is followed, because it would carry the key to another address; no cookie is kept; a
response is read up to a bound; one deadline holds for the attempt as a whole, so that a server
that sends a byte now and then cannot hold it for ever.
"""

import asyncio
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from reviewers.exchange import Cause, Fault

LARGEST_RESPONSE = 16 * 1024 * 1024
"""Bytes of a body that are read at most: far beyond any review."""


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes


class Wire:
    """Connections to any number of servers, kept open between requests.

    An asynchronous context manager; the connections belong to the loop that opened it.
    """

    def __init__(self, *, largest: int = LARGEST_RESPONSE) -> None:
        """Prepare; nothing is opened.

        Args:
            largest: Bytes of a body that are read at most.
        """
        self._largest = largest
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[str, str | None] = {}

    async def __aenter__(self) -> Self:
        """Open the pool."""
        self._session = aiohttp.ClientSession(
            # How many requests fly is decided elsewhere, see ``reviewers.gate``.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=None),
            headers={"User-Agent": "dca", "Accept": "application/json"},
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, deadline: float
    ) -> Response | Fault:
        """Send ``body`` and return the whole response, of any status.

        Args:
            url: Where to.
            headers: With the key.
            body: JSON.
            deadline: Seconds for everything: connecting, sending, waiting, reading.
        """
        if self._session is None:
            raise RuntimeError("the wire is not open")
        try:
            async with (
                asyncio.timeout(deadline),
                self._session.post(
                    url,
                    data=aiohttp.BytesPayload(body),  # Named, so that nobody looks for its kind.
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy(url),
                ) as response,
            ):
                return await self._read(response)
        except TimeoutError:
            message = f"no answer within {deadline:g} s"
            return Fault(Cause.TRANSPORT, message, perhaps_paid=True)
        except aiohttp.ClientConnectorError as error:
            return Fault(Cause.TRANSPORT, f"no connection: {_words(error.os_error or error)}")
        except aiohttp.InvalidURL:
            return Fault(Cause.STRANGE, "the address cannot be read; is base_url right?")
        except (aiohttp.ClientError, OSError) as error:
            return Fault(
                Cause.TRANSPORT, f"the connection broke: {_words(error)}", perhaps_paid=True
            )

    async def _read(self, response: aiohttp.ClientResponse) -> Response | Fault:
        """Return a response with its body, or the fault of one that is too large."""
        if (response.content_length or 0) <= self._largest:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > self._largest:
                    break
            else:
                return Response(response.status, response.headers, b"".join(chunks))
        # What is left unread would hold the connection for ever.
        response.close()
        message = f"the response is larger than {self._largest:,} bytes"
        return Fault(Cause.STRANGE, message, response.status, perhaps_paid=True)

    def _proxy(self, url: str) -> str | None:
        """Return the proxy that the environment names for the server of ``url``."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._proxies:
            bypassed = bool(urllib.request.proxy_bypass(parts.hostname or ""))
            proxies = {} if bypassed else urllib.request.getproxies()
            self._proxies[origin] = proxies.get(parts.scheme) or proxies.get("all")
        return self._proxies[origin]


def _words(error: BaseException) -> str:
    """Return the system's words for an error, else its kind; never an address or a header."""
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return type(error).__name__
