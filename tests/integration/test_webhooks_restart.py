"""A webhooks process may die or stop at any moment; every delivery is made, and no secret leaks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import grpc
import pytest
from aiohttp import web
from sqlalchemy import text

from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_shared.testing import Tokens
from brikk_webhooks.domain.signing import format_secret
from support.discovery import until
from support.receiver import answering, hang, receiving
from support.webhooks import Webhooks, event, settings, store, webhooks

CANARY = b"canary-that-nobody-may-ever-see."
NEXT_CANARY = b"canary-that-takes-its-place-then"


class Service:
    """The service as a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.logs: list[dict[str, str]] = []
        self._written = asyncio.Condition()

    async def read_logs(self) -> None:
        """Keeps what the process writes until it ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._written:
                self.logs.append(json.loads(line))
                self._written.notify_all()

    async def logged(self, event_name: str) -> dict[str, str]:
        """Waits for a log line."""

        def found() -> list[dict[str, str]]:
            return [line for line in self.logs if line["event"] == event_name]

        async with self._written:
            await self._written.wait_for(found)
        return found()[0]

    async def kill(self) -> None:
        """Ends it as kill -9 does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Ends it as an orchestrator does; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()


@asynccontextmanager
async def started(database_url: str, folder: Path, tokens: Tokens) -> AsyncIterator[Service]:
    """Run `python -m brikk_webhooks.app` and wait until it serves."""
    values = settings(
        database_url,
        folder,
        tokens,
        request_timeout=timedelta(seconds=3),
        claim_lease=timedelta(seconds=4),
    )
    given = json.loads(values.model_dump_json(exclude_unset=True))
    environment = {
        f"BRIKK_WEBHOOKS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "brikk_webhooks.app", env={**os.environ, **environment}, stderr=PIPE
    )
    service = Service(process)
    reading = asyncio.create_task(service.read_logs())
    try:
        yield service
    finally:
        if process.returncode is None:
            await service.kill()
        await reading


@asynccontextmanager
async def client_of(service: Service, tokens: Tokens) -> AsyncIterator[Webhooks]:
    """Connect to the service as soon as it serves."""
    serving = await service.logged("serving")
    async with grpc.aio.insecure_channel(serving["grpc"]) as channel:
        yield Webhooks(channel, tokens)


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
            webhook = await client.create(receiver.url + "/hook", secret=secret)
            with pytest.raises(grpc.aio.AioRpcError):
                await client.create("ftp://nowhere", secret=secret)
            await client.publish(event())
            await client.ended(webhook)
            received = receiver.on("/hook")[0]
            received.verify(secret)
            await client.rotate(webhook.name, secret=format_secret(NEXT_CANARY))
            forms = [
                form
                for key in (CANARY, NEXT_CANARY)
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
    tables = (
        "webhook",
        "signing_key",
        "event",
        "delivery",
        "attempt",
        "audit_entry",
        "dead_letter",
    )
    async with store(database_url) as database, database.reading() as connection:
        for table in tables:
            for row in await connection.execute(text(f"SELECT * FROM {table}")):
                for value in row:
                    raw = value if isinstance(value, bytes) else str(value).encode()
                    assert not any(form in raw for form in forms), table


def _files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
