"""The dispatcher keeps its bounds and survives what the queue and the attempts do to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_webhooks.domain.dispatch import Claim, Report
from brikk_webhooks.runtime.dispatcher import Dispatcher
from brikk_webhooks.store.lanes import Lane
from support.receiver import receiving
from support.webhook_queue import DELIVERED, EXPIRED, LEASE, QueueStore, report
from support.webhooks import AT_ONCE, event, store, webhooks


class Attempts:
    """Attempts that a test lets end."""

    def __init__(self, filled: QueueStore) -> None:
        self._filled = filled
        self._changed = asyncio.Condition()
        self.begun: list[Claim] = []
        self.end = asyncio.Event()

    async def send(self, claim: Claim) -> Report:
        async with self._changed:
            self.begun.append(claim)
            self._changed.notify_all()
        await self.end.wait()
        return report(claim, DELIVERED)

    async def log(self, made: Report) -> None:
        await self._filled.log([made])

    async def wait(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.begun) >= count)


@pytest.fixture
async def filled(database_url: str) -> AsyncIterator[QueueStore]:
    async with store(database_url) as database:
        yield QueueStore(database)


@asynccontextmanager
async def dispatching(
    filled: QueueStore, attempts: Attempts, *, slots: int, most: int, lease: timedelta = LEASE
) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(
        Lane.FIRST,
        filled.queue,
        attempts.send,
        attempts.log,
        slots=slots,
        most=most,
        lease=lease,
        poll=timedelta(milliseconds=10),
    )
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled()


async def test_bounds_hold_in_all_and_for_each_webhook(filled: QueueStore) -> None:
    for number in range(3):
        await filled.add_webhook(f"hook-{number}")
    await filled.publish(10)
    attempts = Attempts(filled)
    async with dispatching(filled, attempts, slots=5, most=2) as dispatcher:
        await attempts.wait(5)
        assert dispatcher.in_flight == 5
        attempts.end.set()
        await attempts.wait(30)
        await dispatcher.drain()
        assert dispatcher.in_flight == 0
    uids = [claim.webhook_uid for claim in attempts.begun[:5]]
    assert max(map(uids.count, uids)) == 2


async def test_draining_waits_for_what_is_under_way_and_takes_no_more(filled: QueueStore) -> None:
    await filled.add_webhook("hook")
    await filled.publish(3)
    attempts = Attempts(filled)
    async with dispatching(filled, attempts, slots=2, most=2) as dispatcher:
        await attempts.wait(2)
        draining = asyncio.create_task(dispatcher.drain())
        attempts.end.set()
        await draining
        assert dispatcher.in_flight == 0
    assert len(attempts.begun) == 2
    assert (await filled.queue.depth()).pending == 1


async def test_what_is_broken_off_comes_due_at_once(filled: QueueStore) -> None:
    uid = await filled.add_webhook("hook")
    await filled.publish(2)
    attempts = Attempts(filled)
    async with dispatching(filled, attempts, slots=2, most=2):
        await attempts.wait(2)
    assert len(await filled.claim(uid)) == 2


async def test_a_delivery_whose_lease_ran_out_here_does_no_harm(filled: QueueStore) -> None:
    await filled.add_webhook("hook")
    await filled.publish(1)
    attempts = Attempts(filled)
    async with dispatching(filled, attempts, slots=2, most=2, lease=EXPIRED) as dispatcher:
        await attempts.wait(2)  # both of the one delivery
        attempts.end.set()
        await dispatcher.drain()
    assert (await filled.queue.depth()).pending == 0


async def test_a_retry_that_hangs_does_not_hold_up_first_attempts(
    database_url: str, tmp_path: Path
) -> None:
    bounds = {"concurrency": 1, "retry_concurrency": 1, "max_in_flight": 1}
    async with (
        receiving() as receiver,
        webhooks(database_url, tmp_path, drain_grace=timedelta(0), **bounds) as (client, _),
    ):

        async def hangs_when_tried_again(request: web.Request, before: int) -> web.StreamResponse:
            if before == 0:
                return web.Response(status=500)
            if request.headers["webhook-id"] == receiver.on("/hook")[0].headers["webhook-id"]:
                await asyncio.Event().wait()
            return web.Response()

        url = receiver.behave("/hook", hangs_when_tried_again)
        webhook = await client.create(url, schedule=[AT_ONCE])
        await client.publish(event())
        await receiver.wait("/hook", 2)
        await client.publish(*(event() for _ in range(3)))
        await receiver.wait("/hook", 5)
        deliveries = await client.until(webhook, lambda each: each.attempts == 1)
        states = [delivery.state for delivery in reversed(deliveries)]
        assert states == [Delivery.STATE_PENDING] + [Delivery.STATE_DELIVERED] * 3
