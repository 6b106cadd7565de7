"""Celery workers may die or stop at any moment: it costs time, and never a delivery."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from redis import Redis
from sqlalchemy import text

from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_cli.keys import rotate_ring
from brikk_shared.celery_tasks import celery_app, send_hints
from brikk_webhooks.domain.signing import format_secret
from brikk_webhooks.runtime.tasks import DRAIN
from support.receiver import answering, hang, receiving
from support.valkey import ValkeyServer
from support.webhook_workers import Surroundings, surroundings
from support.webhooks import event, store, webhooks

CANARY = b"canary-that-nobody-may-ever-see."
HEADER = "Bearer canary-in-a-header"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Surroundings]:
    times = {"request_timeout": timedelta(seconds=3), "claim_lease": timedelta(seconds=4)}
    with surroundings(tmp_path, **times) as place:
        yield place


async def test_killed_in_the_middle_its_deliveries_are_made_by_another(
    place: Surroundings,
) -> None:
    async with (
        receiving() as receiver,
        webhooks(place.database_url, place.folder, **place.settings()) as (client, _),
    ):
        with place.worker() as victim:
            webhook = await client.create(receiver.behave("/hook", hang))
            await client.publish(event())
            await receiver.wait("/hook")
            victim.kill()
        receiver.behave("/hook", answering(200))
        with place.worker() as worker:
            os.kill(worker.children()[0], signal.SIGKILL)  # Celery forks another one
            [delivery] = await client.ended(webhook)
        assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
        received = receiver.on("/hook")
        assert len(received) > 1
        assert len({(each.headers["webhook-id"], each.body) for each in received}) == 1


async def test_it_finishes_what_is_in_flight_and_the_broker_sees_no_more_than_names(
    place: Surroundings,
) -> None:
    answer = asyncio.Event()

    async def slow(_request: web.Request, _before: int) -> web.StreamResponse:
        await answer.wait()
        return web.Response()

    async with (
        receiving() as receiver,
        webhooks(place.database_url, place.folder, **place.settings()) as (client, _),
    ):
        with place.worker() as worker:
            # The worker has read the ring before: it finds the new key when it needs it.
            rotate_ring(place.folder / "ring.json")
            webhook = await client.create(
                receiver.behave("/slow", slow),
                secret=format_secret(CANARY),
                headers={"Authorization": HEADER},
            )
            sent = event()
            await client.publish(sent)
            [received] = await receiver.wait("/slow")
            received.verify(format_secret(CANARY))
            assert received.headers["Authorization"] == HEADER
            stopping = asyncio.create_task(asyncio.to_thread(worker.stop))
            answer.set()
            assert await stopping == 0
        [delivery] = await client.deliveries(webhook)
        assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
        assert len(receiver.on("/slow")) == 1
        logs = "".join(worker.logs).encode()
    # Every message that ever was is in the append-only file.
    kept = b"".join(
        path.read_bytes() for path in (place.folder / "broker").rglob("*") if path.is_file()
    )
    assert b"brikk.webhooks.drain" in kept
    secrets = (CANARY, format_secret(CANARY).encode(), HEADER.encode())
    hidden = (*secrets, webhook.name.encode(), sent.id.encode())
    assert not any(each in kept for each in hidden)
    assert not any(each in logs for each in secrets)


async def test_an_emptied_broker_costs_no_delivery(place: Surroundings) -> None:
    async with (
        receiving() as receiver,
        webhooks(place.database_url, place.folder, **place.settings()) as (client, _),
    ):
        await client.create(receiver.url + "/hook")
        for _ in range(4):
            await client.publish(*(event() for _ in range(250)))
        with Redis.from_url(place.broker.url) as broker:
            assert await asyncio.to_thread(broker.flushall)
        with place.worker() as worker:
            received = await receiver.wait("/hook", 1000)
            assert await asyncio.to_thread(worker.stop) == 0
    assert len({each.headers["webhook-id"] for each in received}) == len(received) == 1000
    async with store(place.database_url) as database, database.reading() as connection:
        rows = await connection.execute(text("SELECT state, attempts FROM delivery"))
        assert set(map(tuple, rows)) == {(Delivery.STATE_DELIVERED, 1)}


def test_without_workers_the_broker_does_not_fill_up(tmp_path: Path) -> None:
    broker = ValkeyServer(tmp_path / "broker")
    broker.start()
    try:
        app = celery_app("webhooks", broker.url)
        for _ in range(110):
            send_hints(app, [DRAIN.name])
        with Redis.from_url(broker.url) as client:
            assert client.llen("brikk-webhooks") == 100
    finally:
        app.pool.force_close_all()
        broker.stop()
