"""What deliveries are measured beside: posts without anything around them, and Celery's way."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from valkey.asyncio import Valkey

_PYTHON = os.environ.get("BRIKK_BENCH_CELERY", sys.executable)
"""The interpreter that has Celery and requests."""
_QUEUE = "bench"
BODY = b'{"specversion":"1.0","id":"e1","data":{"text":"' + b"x" * 300 + b'"}}'


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


async def celery_rate(url: str, broker: str, *, count: int) -> float | None:
    """Posts a second by two Celery workers with requests; None where they are not installed."""
    if not await _run(_PYTHON, "-c", "import celery, redis, requests"):
        return None
    environment = {**os.environ, "BENCH_URL": url, "BENCH_BROKER": broker}
    folder = Path(__file__).parent
    worker = await asyncio.create_subprocess_exec(
        _PYTHON, "-m", "celery", "-A", "celery_sender", "worker", "-c", "2", "-l", "ERROR",
        "--without-gossip", "--without-mingle", "--without-heartbeat", "-Q", _QUEUE,
        cwd=folder, env=environment,
    )  # fmt: skip
    try:
        async with Valkey.from_url(broker) as valkey:
            await _post(environment, folder, 20)
            await _done(valkey, 20)
            begun = time.perf_counter()
            await _post(environment, folder, count)
            await _done(valkey, 20 + count)
            return count / (time.perf_counter() - begun)
    finally:
        worker.terminate()
        await worker.wait()


async def _post(environment: dict[str, str], folder: Path, count: int) -> None:
    process = await asyncio.create_subprocess_exec(
        _PYTHON, "-m", "celery_sender", str(count), cwd=folder, env=environment
    )
    await process.wait()


async def _done(valkey: Valkey, count: int) -> None:
    while True:
        if int(await valkey.get("bench-posted") or 0) >= count:
            return
        await asyncio.sleep(0.02)


async def _run(*command: str) -> bool:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait() == 0
