"""Events that are published on and on, whoever is killed meanwhile, and count where they arrive."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
from aiohttp import web

from brikk.event.v1.event_pb2 import Event
from support.receiver import Receiver
from support.webhooks import Webhooks, event

BATCH = 20
AHEAD = 400
"""Deliveries that may be waiting before more events are published."""


class Load:
    """A producer whose batches are taken once, through any number of lives of the service."""

    def __init__(self, receiver: Receiver) -> None:
        self.url = receiver.behave("/all", self._arrive)
        self.published = 0
        self.enough = False
        self.arrived: Counter[str] = Counter()
        self._receiver = receiver
        self._batch: list[Event] = []
        self._changed = asyncio.Condition()

    async def publish(self, client: Webhooks) -> None:
        """Publishes until it is enough, or the service dies."""
        while not self.enough:
            self._batch = self._batch or [event() for _ in range(BATCH)]
            try:
                await client.publish_at(*enumerate(self._batch, self.published + 1))
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                return
            self.published += BATCH
            self._batch = []
            await self.wait(self.published - AHEAD)

    async def wait(self, count: int) -> None:
        """Waits until so many different deliveries have arrived."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.arrived) >= count)

    async def _arrive(self, request: web.Request, _before: int) -> web.StreamResponse:
        self._receiver.received.clear()  # of a long run there would be too much to keep
        async with self._changed:
            self.arrived[request.headers["webhook-id"]] += 1
            self._changed.notify_all()
        return web.Response(status=204)
