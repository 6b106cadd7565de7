"""Whatever an endpoint sends back, however broken, is an answer: it cannot end what posts to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network

import pytest

from brikk_shared.egress import Egress
from brikk_webhooks.clients.http import HttpPoster

OK = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "nothing": b"",
    "no status": b"\r\n\r\n",
    "half a head": OK,
    "a TLS hello": b"\x16\x03\x01\x02\x00" * 100,
    "a long header": OK + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": OK + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    "a header's name with NUL": OK + b"X\0Y: a\r\nContent-Length: 0\r\n\r\n",
    "a negative length": OK + b"Content-Length: -5\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
    "an endless length": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a status of five digits": b"HTTP/1.1 99999 OK\r\n\r\n",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
}
ODD = {
    "another protocol": (
        101,
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    ),
    "no chunks": (200, OK + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\nhello"),
    "no gzip": (200, OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
    "bytes that are no text": (200, b"HTTP/1.1 200 \xff\r\nX: \xff\r\nContent-Length: 0\r\n\r\n"),
    "three answers": (200, (OK + b"Content-Length: 0\r\n\r\n") * 3),
    "many before it": (204, b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 204 No\r\n\r\n"),
    "a place to go that is none": (
        302,
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
    ),
    "an odd time to wait": (
        429,
        b"HTTP/1.1 429 Slow\r\nRetry-After: \xc3\xa9\r\nContent-Length: 0\r\n\r\n",
    ),
}


@asynccontextmanager
async def answering_with(raw: bytes) -> AsyncIterator[str]:
    """Give the URL of an endpoint that answers so, and closes the connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nbody")
        writer.write(raw)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
async def poster() -> AsyncIterator[HttpPoster]:
    egress = Egress([ip_network("127.0.0.1")])
    async with HttpPoster(egress=egress, timeout=timedelta(seconds=20), connections=1) as poster:
        yield poster


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_http_has_failed(poster: HttpPoster, raw: bytes) -> None:
    async with answering_with(raw) as url:
        answer = await poster.post(url, headers={}, body=b"body")
    assert answer.status == 0
    assert answer.error in ("the answer was not HTTP", "the connection broke before the answer")
    assert not answer.final


@pytest.mark.parametrize(("status", "raw"), ODD.values(), ids=ODD)
async def test_what_has_a_status_counts_by_it(poster: HttpPoster, status: int, raw: bytes) -> None:
    async with answering_with(raw) as url:
        answer = await poster.post(url, headers={}, body=b"body")
    assert (answer.status, answer.error) == (status, "")
