"""A small service on the real contracts, for tests of what every service stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk.webhooks.v1.webhook_service_pb2_grpc import (
    WebhookServiceServicer,
    WebhookServiceStub,
    add_WebhookServiceServicer_to_server,
)
from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk.workflow.v1.execution_service_pb2_grpc import (
    ExecutionServiceServicer,
    ExecutionServiceStub,
    add_ExecutionServiceServicer_to_server,
)
from brikk_shared.application import Application, Running, running
from brikk_shared.audit import AuditEntry
from brikk_shared.call import current_call
from brikk_shared.clock import Clock
from brikk_shared.settings import CommonSettings
from brikk_shared.testing import Tokens, bearer

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[], Awaitable[None]]


async def _at_once() -> None:
    pass


@dataclass
class Service:
    """A webhook service and an execution service without a store, told by tests how to answer."""

    answer: Answer = _at_once
    """Awaited by GetWebhook before it answers."""
    stream: Answer = _at_once
    """Awaited by WatchExecution after its first message."""
    calls: list[Any] = field(default_factory=list)
    """The call under way, at each call."""
    entries: list[AuditEntry] = field(default_factory=list)
    """What was recorded in the audit log."""

    async def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    async def build(self, settings: CommonSettings, app: Application) -> None:
        app.audit(self)
        # To the type checker they are abstract: they leave methods out on purpose.
        webhooks: type[Any] = _Webhooks
        executions: type[Any] = _Executions
        app.mount(
            add_WebhookServiceServicer_to_server,
            webhooks(self),
            webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
        )
        app.mount(
            add_ExecutionServiceServicer_to_server,
            executions(self),
            execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
        )

    @asynccontextmanager
    async def running(
        self, tokens: Tokens, *, clock: Clock | None = None, **settings: Any
    ) -> AsyncIterator[Running]:
        async with running(
            CommonSettings(issuers=tokens.issuers, service_key=tokens.service_key, **settings),
            self.build,
            clock=clock,
        ) as service:
            yield service


class _Webhooks(WebhookServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    async def GetWebhook(
        self, request: webhook_service_pb2.GetWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        self._service.calls.append(current_call())
        await self._service.answer()
        return webhook_pb2.Webhook(name=request.name)

    async def CreateWebhook(
        self, request: webhook_service_pb2.CreateWebhookRequest, context: Context
    ) -> webhook_pb2.Webhook:
        self._service.calls.append(current_call())
        await self._service.answer()
        return request.webhook

    async def DeleteWebhook(
        self, request: webhook_service_pb2.DeleteWebhookRequest, context: Context
    ) -> Empty:
        """What no servicer of ours does: it speaks to gRPC by itself."""
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by hand")
        raise AssertionError("abort returned")


class _Executions(ExecutionServiceServicer):
    def __init__(self, service: Service) -> None:
        self._service = service

    async def WatchExecution(
        self, request: execution_service_pb2.WatchExecutionRequest, context: Context
    ) -> AsyncIterator[execution_service_pb2.WatchExecutionResponse]:
        self._service.calls.append(current_call())
        execution = execution_pb2.WorkflowExecution(name=request.name)
        yield execution_service_pb2.WatchExecutionResponse(execution=execution)
        await self._service.stream()
        yield execution_service_pb2.WatchExecutionResponse(execution=execution)


@dataclass
class Client:
    """Stubs on one channel, and the metadata of an allowed user. Its methods begin calls."""

    channel: grpc.aio.Channel
    webhooks: Any
    executions: Any
    metadata: tuple[tuple[str, str], ...]

    def get(self, name: str = "webhooks/a", **call: Any) -> Any:
        request = webhook_service_pb2.GetWebhookRequest(name=name)
        call = {"metadata": self.metadata, "timeout": 10} | call
        return self.webhooks.GetWebhook(request, **call)

    def create(self, **call: Any) -> Any:
        webhook = webhook_pb2.Webhook(url="http://x/", event_types=["*"], secret=SECRET)
        request = webhook_service_pb2.CreateWebhookRequest(webhook=webhook)
        call = {"metadata": self.metadata, "timeout": 10} | call
        return self.webhooks.CreateWebhook(request, **call)

    def watch(self, **call: Any) -> Any:
        request = execution_service_pb2.WatchExecutionRequest(name="executions/a")
        call = {"metadata": self.metadata, "timeout": 10} | call
        return self.executions.WatchExecution(request, **call)


SECRET = "whsec_" + "canary" * 6
SCOPES = ("webhook.*", "workflow.read")


@asynccontextmanager
async def connected(
    address: str, tokens: Tokens, channel: grpc.aio.Channel | None = None
) -> AsyncIterator[Client]:
    """A client of the service."""
    async with channel or grpc.aio.insecure_channel(address) as opened:
        yield Client(
            channel=opened,
            webhooks=WebhookServiceStub(opened),
            executions=ExecutionServiceStub(opened),
            metadata=bearer(tokens.user("acme", *SCOPES)),
        )


class Gate:
    """An answer that waits until a test lets it go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self) -> None:
        self.entered.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def make_tokens(folder: Path, **options: Any) -> Tokens:
    folder.mkdir(exist_ok=True)
    return Tokens(folder, **options)
