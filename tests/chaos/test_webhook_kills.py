"""The webhooks process killed again and again under load: all is delivered, hardly any twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import grpc
import psutil
import pytest
from aiohttp import web

from brikk.event.v1.event_pb2 import Event
from brikk_shared.testing import Tokens
from support.behind import run
from support.chaos import Tell
from support.discovery import until
from support.receiver import Receiver, receiving
from support.webhook_process import Service, client_of, started
from support.webhooks import Webhooks, event

BATCH = 20
AHEAD = 400
"""Deliveries that may be waiting before more events are published."""
GROWTH = 48 * 2**20
"""What the memory of a process may gain, whatever it delivers."""


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


@pytest.mark.parametrize(
    ("kills", "per_life"),
    [
        (2, 150),
        pytest.param(90, 2_500, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_killed_under_load(
    tmp_path: Path, postgres_url: str, kills: int, per_life: int, tell: Tell
) -> None:
    tokens = Tokens(tmp_path)
    in_flight = 0
    async with receiving() as receiver:
        load = Load(receiver)
        for life in range(kills):
            async with (
                started(postgres_url, tmp_path, tokens) as service,
                client_of(service, tokens) as client,
            ):
                if life == 0:
                    await client.create(load.url)
                publishing = asyncio.create_task(load.publish(client))
                await load.wait(len(load.arrived) + per_life)
                await service.kill()
                await publishing
            [(claimed,)] = await run(
                postgres_url, "SELECT count(*) FROM delivery WHERE claim IS NOT NULL"
            )
            in_flight += claimed
            # What time does to the leases of the dead.
            await run(postgres_url, "UPDATE delivery SET due_at = 0 WHERE claim IS NOT NULL")
        async with (
            started(postgres_url, tmp_path, tokens) as service,
            client_of(service, tokens) as client,
        ):
            publishing = asyncio.create_task(load.publish(client))
            await load.wait(len(load.arrived) + per_life)
            before = _memory(service)
            await load.wait(len(load.arrived) + 4 * per_life)
            growth = _memory(service) - before
            load.enough = True
            await publishing

            async def all_ended() -> bool:
                return not await run(postgres_url, "SELECT 1 FROM delivery WHERE state = 1")

            await until(all_ended)
    assert growth < GROWTH
    assert len(load.arrived) == load.published
    again = load.arrived.total() - len(load.arrived)
    assert again <= in_flight
    [counts] = await run(
        postgres_url,
        "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM delivery WHERE state = 2),"
        " (SELECT count(*) FROM attempt), (SELECT count(*) FROM outbox)",
    )
    assert counts == (load.published, load.published, load.published, 0)
    tell(
        f"{kills} kills: {load.published} deliveries, {again} of them twice, with {in_flight}"
        f" under way at the kills; the last process gained {growth / 2**20:.1f} MiB"
    )


def _memory(service: Service) -> int:
    used: int = psutil.Process(service.process.pid).memory_info().rss
    return used
