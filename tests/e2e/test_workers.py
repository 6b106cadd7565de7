"""A suite with Celery workers: whatever is killed, webhooks arrive and reports are made."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from brikk.monitoring.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from brikk.monitoring.v1.report_pb2 import CreateReportRequest, GetReportRequest, Report
from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk.webhooks.v1.webhook_service_pb2 import CreateWebhookRequest, SendTestEventRequest
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk_cli.plan import SERVICES, VALKEY, WORKERS
from brikk_cli.ports import Ports
from brikk_cli.suite import Suite
from brikk_shared.ids import new_id
from brikk_shared.testing import bearer
from support.postgres import server_url
from support.receiver import receiving

TIMEOUT = 30


@pytest.fixture
async def database_urls() -> AsyncIterator[str]:
    server, prefix = server_url(), f"workers_{new_id()}"
    names = [f"{prefix}_{service}" for service in SERVICES]
    async with AsyncExitStack() as stack:
        connection = await asyncpg.connect(server)
        stack.push_async_callback(connection.close)
        for name in names:
            await connection.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(server)._replace(path=f"/{prefix}_{{service}}"))
        for name in names:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def attempts(address: str) -> float:
    """How many attempts a process has counted."""
    async with ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "brikk_webhooks_attempts_total"
        )


async def test_whatever_is_killed_everything_arrives(tmp_path: Path, database_urls: str) -> None:
    suite = Suite(
        tmp_path / "home",
        ports=Ports.free(),
        database_url=database_urls,
        workers=True,
        log_level="warning",
    )
    async with (
        receiving() as receiver,
        suite,
        grpc.aio.insecure_channel(suite.addresses["webhooks"]) as channel,
    ):
        stub, caller = WebhookServiceStub(channel), bearer(suite.token())
        webhook = await stub.CreateWebhook(
            CreateWebhookRequest(webhook=Webhook(url=receiver.url + "/hook", event_types=["*"])),
            metadata=caller,
            timeout=TIMEOUT,
        )

        async def send() -> Delivery:
            request = SendTestEventRequest(name=webhook.name, request_id=new_id())
            with contextlib.suppress(grpc.aio.AioRpcError):
                # It may go over the connection to a process that was killed a moment ago.
                return await stub.SendTestEvent(request, metadata=caller, timeout=TIMEOUT)
            return await stub.SendTestEvent(
                request, metadata=caller, timeout=TIMEOUT, wait_for_ready=True
            )

        await send()
        await receiver.wait("/hook", 1)
        for round_, name in enumerate((VALKEY, "webhooks-worker", "webhooks"), start=2):
            await suite.kill(name)
            await send()
            await receiver.wait("/hook", round_)
        assert len({each.headers["webhook-id"] for each in receiver.on("/hook")}) == 4
        by_workers = [
            await attempts(suite.ports.address(name)) for name in WORKERS["webhooks-worker"]
        ]
        assert sum(by_workers) > 0
        assert await attempts(suite.http_addresses["webhooks"]) == 0
        await reports_made(suite)


async def reports_made(suite: Suite) -> None:
    """Order reports, kill the worker amid them, and see them made."""
    async with grpc.aio.insecure_channel(suite.addresses["monitoring"]) as channel:
        stub, caller = MonitoringServiceStub(channel), bearer(suite.token())
        order = CreateReportRequest(report=Report(kind=Report.KIND_AGENTS))
        ordered = [
            await stub.CreateReport(order, metadata=caller, timeout=TIMEOUT) for _ in range(10)
        ]
        await suite.kill("monitoring-worker")
        ordered.append(await stub.CreateReport(order, metadata=caller, timeout=TIMEOUT))
        for each in ordered:
            report = each
            while report.state == Report.STATE_PENDING:
                request = GetReportRequest(name=each.name)
                report = await stub.GetReport(request, metadata=caller, timeout=TIMEOUT)
            assert report.content.startswith(b"agent,count")
