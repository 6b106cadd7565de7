"""Calls between services carry what the other side needs, and end in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from brikk.webhooks.v1 import webhook_service_pb2
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk.workflow.v1 import execution_service_pb2
from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceStub
from brikk_shared.application import Application, running
from brikk_shared.errors import Reason, StartError, Unavailable
from brikk_shared.metadata import ORGANIZATION_KEY
from brikk_shared.settings import CommonSettings
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.certificates import write_certificate
from support.shared_service import Service, connected

_Context = grpc.aio.ServicerContext[Any, Any]
_GET = webhook_service_pb2.GetWebhookRequest(name="webhooks/a")
_FOR_ACME = ((ORGANIZATION_KEY, "acme"),)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@asynccontextmanager
async def _caller(
    tokens: Tokens, address: str, *scopes: str, clock: ManualClock | None = None, **settings: Any
) -> AsyncIterator[grpc.aio.Channel]:
    """The channel of another service to the address."""
    channels = []

    async def build(settings: CommonSettings, app: Application) -> None:
        channels.append(app.channel(address, scopes=scopes))

    common = CommonSettings(service_key=tokens.service_key, **settings)
    async with running(common, build, clock=clock):
        yield channels[0]


@asynccontextmanager
async def _listener(note: Callable[[_Context], None]) -> AsyncIterator[str]:
    """A server that only takes note of its calls."""

    async def answer(request: bytes, context: _Context) -> bytes:
        note(context)
        return b""

    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Service", {"Note": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_loop_calls_for_the_organisation_it_names(tokens: Tokens) -> None:
    service = Service()
    async with (
        service.running(tokens) as it,
        _caller(tokens, it.address, "webhook.read", "workflow.read") as channel,
    ):
        await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
        watch = ExecutionServiceStub(channel).WatchExecution(
            execution_service_pb2.WatchExecutionRequest(name="executions/a"), metadata=_FOR_ACME
        )
        assert len([each async for each in watch]) == 2
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await WebhookServiceStub(channel).GetWebhook(_GET)
        assert from_rpc_error(failed.value).metadata == {"field": ORGANIZATION_KEY}
    for call in service.calls:
        assert call.identity.internal
        assert call.identity.organization == "acme"
        assert call.identity.subject == "services/service"


async def test_a_scope_that_was_not_asked_for_is_not_there(tokens: Tokens) -> None:
    async with Service().running(tokens) as it, _caller(tokens, it.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
        assert from_rpc_error(failed.value).reason is Reason.SCOPE_MISSING


async def test_a_servicer_calls_on_behalf_of_the_call_it_serves(tokens: Tokens) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    inner = Service()
    async with (
        inner.running(tokens) as it,
        _caller(tokens, it.address, "webhook.read") as channel,
    ):

        async def ask_inner() -> None:
            await WebhookServiceStub(channel).GetWebhook(_GET)

        outer = Service(answer=ask_inner)
        async with (
            outer.running(tokens) as outside,
            connected(outside.address, tokens) as client,
        ):
            metadata = (*client.metadata, ("traceparent", traceparent))
            await client.get(metadata=metadata)
    (given,), (passed_on,) = outer.calls, inner.calls
    assert passed_on.request_id == given.request_id
    assert passed_on.traceparent == given.traceparent == traceparent
    assert passed_on.identity.organization == "acme"


async def test_the_token_is_used_again_and_renewed_before_it_expires(tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    seen: list[str] = []

    def note(context: _Context) -> None:
        seen.append(str(dict(context.invocation_metadata() or ())["authorization"]))

    async with _listener(note) as address, _caller(tokens, address, clock=clock) as channel:
        call: Any = channel.unary_unary("/test.Service/Note")
        for minutes in (0, 3, 2, 3, 2):
            clock.advance(timedelta(minutes=minutes))
            await call(b"")
    first, again, renewed, still, last = seen
    assert first == again != renewed == still != last


async def test_a_call_without_a_deadline_has_one(tokens: Tokens) -> None:
    left: list[float] = []

    def note(context: _Context) -> None:
        left.append(context.time_remaining())

    async with _listener(note) as address, _caller(tokens, address) as channel:
        call: Any = channel.unary_unary("/test.Service/Note")
        await call(b"")
        await call(b"", timeout=3600)
    assert left[0] < 15 < left[1]


async def test_unavailable_is_tried_again(tokens: Tokens) -> None:
    attempts = 0

    async def answer() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "not now")

    async with (
        Service(answer=answer).running(tokens) as it,
        _caller(tokens, it.address, "webhook.read") as channel,
    ):
        await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
        assert attempts == 3
        attempts = -10
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
        assert from_rpc_error(failed.value).reason is Reason.DEPENDENCY_UNAVAILABLE
        assert attempts == -7


async def test_calls_over_tls_check_the_authority(tokens: Tokens, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    stranger, _ = write_certificate(other)
    service = Service()
    async with service.running(tokens, tls_certificate=certificate, tls_key=key) as it:
        async with _caller(
            tokens, it.address, "webhook.read", tls_authority=certificate
        ) as channel:
            await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
        async with _caller(tokens, it.address, "webhook.read", tls_authority=stranger) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await WebhookServiceStub(channel).GetWebhook(_GET, metadata=_FOR_ACME)
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("address", "settings", "message"),
    [
        ("10.0.0.1:1", {}, "plaintext off loopback"),
        ("dns:///webhooks:1", {}, "plaintext off loopback"),
        ("localhost:1", {"tls_authority": Path("absent.pem")}, "absent.pem"),
        ("localhost:1", {"service_key": Path("absent.json")}, "absent.json"),
        ("localhost:1", {"service_key": None}, "service_key"),
        ("localhost", {}, "is not host:port"),
    ],
)
async def test_a_channel_that_cannot_be_is_refused_at_the_start(
    tokens: Tokens, address: str, settings: dict[str, Any], message: str
) -> None:
    async def build(settings: CommonSettings, app: Application) -> None:
        app.channel(address)

    common = CommonSettings(**({"service_key": tokens.service_key} | settings))
    with pytest.raises(StartError, match=message):
        async with running(common, build):
            pass


async def test_a_channel_may_be_plaintext_when_told_so(tokens: Tokens) -> None:
    async def build(settings: CommonSettings, app: Application) -> None:
        app.channel("dns:///webhooks:1")

    common = CommonSettings(service_key=tokens.service_key, allow_plaintext=True)
    async with asyncio.timeout(30), running(common, build):
        pass
