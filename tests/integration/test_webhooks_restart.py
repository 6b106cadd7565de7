"""A webhooks process may die or stop at any moment; every delivery is made, and no secret leaks."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest
from aiohttp import web
from sqlalchemy import select, text

from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_shared.tables import METADATA as SHARED
from brikk_shared.testing import Tokens
from brikk_webhooks.domain.signing import format_secret
from brikk_webhooks.store.intake import Intake
from brikk_webhooks.store.tables import METADATA as WEBHOOKS
from support.discovery import until
from support.receiver import answering, hang, receiving
from support.webhook_process import client_of, started
from support.webhook_queue import EVENT
from support.webhooks import event, store, webhooks

CANARY = b"canary-that-nobody-may-ever-see."
NEXT_CANARY = b"canary-that-takes-its-place-then"
HEADER = b"canary-in-a-header-of-the-hook"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


async def test_killed_between_claim_and_log_the_delivery_is_made_again(
    database_url: str, tmp_path: Path, tokens: Tokens
) -> None:
    async with receiving() as receiver:
        async with (
            started(database_url, tmp_path, tokens) as victim,
            client_of(victim, tokens) as client,
        ):

            async def kills_at_first(_request: web.Request, before: int) -> web.StreamResponse:
                if before == 0:
                    await victim.kill()
                return web.Response()

            webhook = await client.create(receiver.behave("/hook", kills_at_first))
            await client.publish(event())
            await victim.process.wait()
        async with (
            started(database_url, tmp_path, tokens) as service,
            client_of(service, tokens) as client,
        ):
            [delivery] = await client.ended(webhook)
            assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
            first, second = receiver.on("/hook")
            assert first.body == second.body
            assert first.headers["webhook-id"] == second.headers["webhook-id"]
            # The batch was taken: sent again, it has no effect.
            assert (await client.publish_at()).mark == 1
            assert await service.stop() == 0


async def test_killed_between_commit_and_wake_up_what_was_taken_in_is_delivered(
    database_url: str, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        async with webhooks(database_url, tmp_path) as (client, _):
            webhook = await client.create(receiver.url + "/hook")
        # What a process leaves behind that dies there.
        async with store(database_url) as database, database.transaction() as connection:
            await Intake(database).take(connection, [EVENT])
        async with webhooks(database_url, tmp_path) as (client, _):
            [delivery] = await client.ended(webhook)
            assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
        assert len(receiver.on("/hook")) == 1


async def test_stopped_in_the_middle_it_finishes_what_is_in_flight(
    database_url: str, tmp_path: Path, tokens: Tokens
) -> None:
    async with receiving() as receiver:
        answer = asyncio.Event()

        async def slow(_request: web.Request, _before: int) -> web.StreamResponse:
            await answer.wait()
            return web.Response()

        async with (
            started(database_url, tmp_path, tokens) as service,
            client_of(service, tokens) as client,
        ):
            await client.create(receiver.behave("/slow", slow))
            await client.publish(event())
            await receiver.wait("/slow")
            stopping = asyncio.create_task(service.stop())
            await service.logged("stopping")
            answer.set()
            assert await stopping == 0
        assert len(receiver.on("/slow")) == 1
    async with store(database_url) as database, database.reading() as connection:
        rows = await connection.execute(text("SELECT state, attempts, claim FROM delivery"))
        assert rows.all() == [(Delivery.STATE_DELIVERED, 1, None)]


async def test_what_is_broken_off_is_given_back(database_url: str, tmp_path: Path) -> None:
    impatient = {"drain_grace": timedelta(0), "claim_lease": timedelta(hours=1)}
    async with receiving() as receiver:
        url = receiver.behave("/hangs", hang)
        async with webhooks(database_url, tmp_path, **impatient) as (client, _):
            await client.create(url)
            await client.publish(event())
            await receiver.wait("/hangs")
        receiver.behave("/hangs", answering(200))
        async with webhooks(database_url, tmp_path, **impatient) as (client, _):
            [webhook] = await client.webhooks()
            [delivery] = await client.ended(webhook)
            assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)


async def test_a_database_that_drops_its_connections_costs_only_time(
    postgres_url: str, tmp_path: Path
) -> None:
    other = await asyncpg.connect(postgres_url)
    dropped = asyncio.Event()

    async def drops(_request: web.Request, _before: int) -> web.StreamResponse:
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        dropped.set()
        return web.Response()

    async with receiving() as receiver, webhooks(postgres_url, tmp_path) as (client, _):
        webhook = await client.create(receiver.behave("/drops", drops))
        await client.publish(event())
        await dropped.wait()

        async def answers() -> bool:
            try:
                await client.deliveries(webhook)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                return False
            return True

        # Whoever first takes a connection that is gone is told so.
        await until(answers)
        [delivery] = await client.ended(webhook)
        assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
    await other.close()


async def test_no_row_file_or_log_holds_a_secret(
    database_url: str, tmp_path: Path, tokens: Tokens
) -> None:
    secret = format_secret(CANARY)
    async with receiving() as receiver:
        async with (
            started(database_url, tmp_path, tokens) as service,
            client_of(service, tokens) as client,
        ):
            webhook = await client.create(
                receiver.url + "/hook", secret=secret, headers={"X-Key": HEADER.decode()}
            )
            with pytest.raises(grpc.aio.AioRpcError):
                await client.create("ftp://nowhere", secret=secret)
            await client.publish(event())
            await client.ended(webhook)
            received = receiver.on("/hook")[0]
            received.verify(secret)
            assert received.headers["X-Key"] == HEADER.decode()
            await client.rotate(webhook.name, secret=format_secret(NEXT_CANARY))
            forms = [
                form
                for key in (CANARY, NEXT_CANARY, HEADER)
                for form in (key, base64.b64encode(key), key.hex().encode())
            ]
            # While it runs: on SQLite the write-ahead log is a file of its own.
            for content in await asyncio.to_thread(_files, tmp_path):
                assert not any(form in content for form in forms)
            assert await service.stop() == 0
        logs = json.dumps(service.logs).encode()
        assert b"CreateWebhook" in logs
        assert b"RotateWebhookSecret" in logs
        assert not any(form in logs for form in forms)
    tables = (*WEBHOOKS.tables.values(), *SHARED.tables.values())
    async with store(database_url) as database, database.reading() as connection:
        for table in tables:
            for row in await connection.execute(select(table)):
                for value in row:
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    assert not any(form in raw for form in forms), table.name


def _files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
