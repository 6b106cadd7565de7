"""Posts deliveries to endpoints, which are strangers: bounded in time, in bytes, and in trust."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Self

import aiohttp
from yarl import URL

from brikk_shared.egress import AddressRefusedError, Egress
from brikk_webhooks.domain.delivery import Answer
from brikk_webhooks.domain.handshake import Permission

_READ_LIMIT = 64 * 1024
_BAD_URL = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)
_CANNOT_BE_USED = "the URL cannot be used"
_REQUEST_HEADERS = {"User-Agent": "Brikk-Webhooks", "Accept": "*/*", "Accept-Encoding": "identity"}


class HttpPoster:
    """One session for all endpoints; an async context manager.

    Only what the guard lets pass is connected to. Redirects are not followed, the environment's
    proxies are not used, no cookie is kept, and of an answer's body no more than 64 KiB are read,
    which are thrown away.

    Args:
        egress: guards the way out.
        timeout: from looking up the host to the end of the answer.
        connections: most requests at once.
    """

    def __init__(self, *, egress: Egress, timeout: timedelta, connections: int) -> None:
        self._egress = egress
        self._timeout = timeout
        self._connections = connections
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context()
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._session = aiohttp.ClientSession(
            connector=self._egress.connector(limit=self._connections, tls=tls),
            timeout=aiohttp.ClientTimeout(total=self._timeout.total_seconds()),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_REQUEST_HEADERS,
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post a body; whatever goes wrong is an answer too."""
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                await _skip_body(response)
                return Answer(
                    status=response.status, retry_after=response.headers.get("Retry-After")
                )
        except TimeoutError:
            return Answer(error=self._too_late())
        except aiohttp.ClientError as error:
            return Answer(error=_describe(error), final=isinstance(error, _BAD_URL))
        except ValueError:  # of URL itself
            return Answer(error=_CANNOT_BE_USED, final=True)

    async def ask(self, url: str, *, headers: Mapping[str, str]) -> Permission:
        """Ask an endpoint whether it may be posted to."""
        try:
            async with self._session.options(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as response:
                await _skip_body(response)
                return Permission(
                    status=response.status,
                    origin=response.headers.get("WebHook-Allowed-Origin"),
                    rate=response.headers.get("WebHook-Allowed-Rate"),
                )
        except TimeoutError:
            return Permission(error=self._too_late())
        except aiohttp.ClientError as error:
            return Permission(error=_describe(error))

    def _too_late(self) -> str:
        return f"no answer within {self._timeout.total_seconds():g} s"


async def _skip_body(response: aiohttp.ClientResponse) -> None:
    """Read what little there should be, so that the connection can be used again.

    The status has settled the attempt: a body that breaks off, drips or does not end only costs the
    connection, which closes when it was not read to its end.
    """
    left = _READ_LIMIT
    try:
        while left > 0 and (part := await response.content.read(left)):
            left -= len(part)
    except (aiohttp.ClientError, TimeoutError):
        response.close()


def _describe(error: aiohttp.ClientError) -> str:
    """Say what went wrong without repeating the URL, which may hold a secret, or what was sent."""
    if isinstance(error, _BAD_URL):
        return _CANNOT_BE_USED
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(
        error.os_error, AddressRefusedError
    ):
        return error.os_error.message
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name was not found"
    if isinstance(error, aiohttp.ClientSSLError):
        return "the TLS connection failed: the certificate or the protocol was not accepted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {os.strerror(error.errno) if error.errno else 'it failed'}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return "the connection broke before the answer"
    return "the answer was not HTTP"
