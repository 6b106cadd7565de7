"""An endpoint that costs next to nothing: it takes posts over kept connections and answers 204.

`python -m bench.sink` prints its port. A path that begins with /timed notes when its requests
arrived, a GET gives what was noted since the last one, and /hang never answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_SENT_AT = re.compile(rb'"sent_at": ?([0-9.]+)')
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Sink(asyncio.Protocol):
    """One connection."""

    arrivals: list[float] = []  # noqa: RUF012 - of all connections
    """How long requests were on their way, in ms."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each request that is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            request, self._buffer = self._buffer[:whole], self._buffer[whole:]
            self._answer(request, end)

    def _answer(self, request: bytes, end: int) -> None:
        if request.startswith(b"GET"):
            body = json.dumps(Sink.arrivals).encode()
            Sink.arrivals.clear()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)
        elif not request.startswith(b"POST /hang"):
            if request.startswith(b"POST /timed") and (sent := _SENT_AT.search(request, end)):
                Sink.arrivals.append((time.time() - float(sent[1])) * 1000)
            self._transport.write(_NO_CONTENT)


@asynccontextmanager
async def running_sink() -> AsyncIterator[str]:
    """Runs the endpoint in a process of its own and gives its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.sink", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.terminate()
        await process.wait()


async def arrivals(url: str) -> list[float]:
    """Takes what was noted: for each request how many ms it was on its way."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        noted: list[float] = await response.json(content_type=None)
        return noted


async def serve() -> None:
    """Serves until terminated."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
