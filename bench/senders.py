"""What deliveries are measured beside: posts without anything around them, and Celery's way."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from valkey.asyncio import Valkey

BODY = b'{"specversion":"1.0","id":"e1","data":{"text":"' + b"x" * 300 + b'"}}'
POSTED = "bench-posted"
"""Where Celery's tasks are counted."""

_WORKERS = "2"
_WARM_UP = 20


class NakedPosts:
    """Posts of aiohttp: the limit."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def post(self) -> None:
        """Makes one post."""
        headers = {"Content-Type": "application/json", "webhook-id": "msg_1"}
        async with self._session.post(self._url, data=BODY, headers=headers) as response:
            await response.read()


@asynccontextmanager
async def naked_posts(url: str) -> AsyncIterator[NakedPosts]:
    """Opens a session."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield NakedPosts(session, url)


async def celery_rate(url: str, broker: str, *, count: int) -> float:
    """Posts a second by Celery workers with requests."""
    environment = {**os.environ, "BENCH_URL": url, "BENCH_BROKER": broker}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "celery", "-A", "bench.celery_sender",
        "worker", "-c", _WORKERS, "-l", "ERROR", "-Q", "bench",
        env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with Valkey.from_url(broker) as valkey:
            await _ask(environment, _WARM_UP)
            await _posted(valkey, _WARM_UP)
            begun = time.perf_counter()
            await _ask(environment, count)
            await _posted(valkey, _WARM_UP + count)
            return count / (time.perf_counter() - begun)
    finally:
        worker.terminate()
        await worker.wait()


async def _ask(environment: Mapping[str, str], count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.celery_sender", str(count), env=environment
    )
    await process.wait()


async def _posted(valkey: Valkey, count: int) -> None:
    while True:
        if int(await valkey.get(POSTED) or 0) >= count:
            return
        await asyncio.sleep(0.02)
