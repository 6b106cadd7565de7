"""An endpoint that webhooks are delivered to: real HTTP, with the behaviour a test gives it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import standardwebhooks
from aiohttp import web

Behaviour = Callable[[web.Request, int], Awaitable[web.StreamResponse]]
"""Answers a request; it is told how many came before on its path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verify(self, secret: str) -> object:
        """Check the signature with the reference library over the raw bytes; give the JSON."""
        return standardwebhooks.Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Keeps what it receives. A path without a behaviour answers 204."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Received] = []
        self._counts: Counter[str] = Counter()
        self._behaviours: dict[str, Behaviour] = {}
        self._arrived = asyncio.Condition()

    def behave(self, path: str, behaviour: Behaviour) -> str:
        """Let a path behave so; give its URL."""
        self._behaviours[path] = behaviour
        return self.url + path

    def on(self, path: str) -> list[Received]:
        """What came in on a path."""
        return [each for each in self.received if each.path == path]

    async def wait(self, path: str, count: int = 1) -> list[Received]:
        """Wait until so many requests came in on a path; give them."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self._counts[path] >= count)
        return self.on(path)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        before = self._counts[request.path]
        received = Received(
            path=request.path, headers=dict(request.headers), body=await request.read()
        )
        async with self._arrived:
            self.received.append(received)
            self._counts[request.path] += 1
            self._arrived.notify_all()
        behaviour = self._behaviours.get(request.path)
        return web.Response(status=204) if behaviour is None else await behaviour(request, before)


@asynccontextmanager
async def receiving(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Receiver]:
    """Run an endpoint on this machine, on a free port unless told."""
    receiver = Receiver()
    application = web.Application(client_max_size=8 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", receiver._handle)
    # Requests that hang are broken off at the end.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    receiver.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()


def answering(*statuses: int, headers: dict[str, str] | None = None) -> Behaviour:
    """Answer with these statuses in turn, and with the last from then on."""

    async def behave(_request: web.Request, before: int) -> web.StreamResponse:
        return web.Response(status=statuses[min(before, len(statuses) - 1)], headers=headers)

    return behave


async def hang(_request: web.Request, _before: int) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError
