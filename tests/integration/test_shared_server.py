"""A server says whether it serves, what it serves, and goes away without dropping calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from brikk_shared.application import Application, running
from brikk_shared.errors import Reason, StartError
from brikk_shared.server import LIVENESS
from brikk_shared.settings import CommonSettings
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens
from support.certificates import write_certificate
from support.shared_service import Gate, Service, connected

_WEBHOOKS = "brikk.webhooks.v1.WebhookService"
_EXECUTIONS = "brikk.workflow.v1.ExecutionService"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


async def _health(channel: grpc.aio.Channel, service: str = "") -> Any:
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)).status


@asynccontextmanager
async def _health_changes(channel: grpc.aio.Channel) -> AsyncIterator[Any]:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    yield watch
    watch.cancel()


async def test_health_and_reflection_need_no_token(tokens: Tokens) -> None:
    async with (
        Service().running(tokens) as running_service,
        connected(running_service.address, tokens) as client,
    ):
        for service in ("", _WEBHOOKS, _EXECUTIONS):
            assert await _health(client.channel, service) == _SERVING
        info = reflection_pb2_grpc.ServerReflectionStub(client.channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        answer = await info.read()
        info.cancel()
        names = {each.name for each in answer.list_services_response.service}
        assert names >= {_WEBHOOKS, _EXECUTIONS, "grpc.health.v1.Health"}


async def test_probes_ask_for_health_in_plaintext_and_for_nothing_else(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    settings = CommonSettings(tls_certificate=certificate, tls_key=key, health_listen="127.0.0.1:0")
    stopping, looked = asyncio.Event(), asyncio.Event()
    serving: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    async def finish() -> None:
        await looked.wait()

    async def build(_: CommonSettings, app: Application) -> None:
        app.on_drain(finish)

    async def serve() -> None:
        async with running(settings, build) as it:
            serving.set_result(it.health_address)
            await stopping.wait()

    server = asyncio.create_task(serve())
    address = await serving
    assert address is not None
    async with grpc.aio.insecure_channel(address) as probes, _health_changes(probes) as changes:
        assert (await changes.read()).status == await _health(probes, LIVENESS) == _SERVING
        info = reflection_pb2_grpc.ServerReflectionStub(probes).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await info.read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        stopping.set()
        assert (await changes.read()).status == _NOT_SERVING
        assert await _health(probes, LIVENESS) == _SERVING
    looked.set()
    await server


async def test_health_fails_while_a_loop_is_down(tokens: Tokens) -> None:
    clock = ManualClock()
    die = asyncio.Event()
    alive = asyncio.Event()

    async def loop() -> None:
        alive.set()
        await die.wait()
        raise RuntimeError("broken")

    async def build(settings: CommonSettings, app: Application) -> None:
        app.loop("loop", loop)

    async with (
        running(CommonSettings(), build, clock=clock) as service,
        grpc.aio.insecure_channel(service.address) as channel,
        _health_changes(channel) as changes,
    ):
        assert (await changes.read()).status == _SERVING
        die.set()
        assert (await changes.read()).status == _NOT_SERVING
        die.clear()
        await clock.sleeping()
        clock.advance(timedelta(seconds=1))
        assert (await changes.read()).status == _SERVING
        metrics = await _metrics(service.http_address)
        assert metrics["brikk_loop_restarts_total", ("loop", "loop")] == 1


async def test_a_drain_lets_calls_finish_and_runs_hooks_before_loops_end(tokens: Tokens) -> None:
    gate = Gate()
    service = Service(answer=gate)
    order: list[str] = []

    async def loop() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("loop")

    async def hook() -> None:
        assert "loop" not in order
        order.append("hook")

    @asynccontextmanager
    async def resource(name: str) -> AsyncIterator[str]:
        yield name
        order.append(name)

    async def build(settings: CommonSettings, app: Application) -> None:
        assert await app.enter(resource("first")) == "first"
        await app.enter(resource("second"))
        app.loop("loop", loop)
        app.on_drain(hook)
        await service.build(settings, app)

    settings = CommonSettings(issuers=tokens.issuers, service_key=tokens.service_key)
    stopping = asyncio.Event()
    serving: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with running(settings, build) as it:
            serving.set_result(it.address)
            await stopping.wait()

    server = asyncio.create_task(serve())
    address = await serving
    async with (
        connected(address, tokens) as client,
        _health_changes(client.channel) as changes,
    ):
        assert (await changes.read()).status == _SERVING
        call = asyncio.ensure_future(client.get())
        await gate.entered.wait()
        stopping.set()
        assert (await changes.read()).status == _NOT_SERVING
        changes.cancel()
        assert not server.done()
        gate.opened.set()
        assert (await call).name == "webhooks/a"
        await server
    assert order == ["hook", "loop", "second", "first"]


async def test_a_drain_ends_calls_that_outlast_the_grace(tokens: Tokens) -> None:
    gate = Gate()
    async with connected_to(Service(answer=gate), tokens, drain_grace="200ms") as (client, stop):
        call = asyncio.ensure_future(client.get(timeout=60))
        await gate.entered.wait()
        await stop()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        assert gate.cancelled.is_set()


async def test_a_drain_ends_streams_so_that_clients_resume_elsewhere(tokens: Tokens) -> None:
    gate = Gate()
    async with connected_to(Service(stream=gate), tokens, drain_grace="1h") as (client, stop):
        watch = client.watch(timeout=60)
        await watch.read()
        await gate.entered.wait()
        await stop()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await watch.read()
        assert from_rpc_error(failed.value).reason is Reason.SHUTTING_DOWN
        assert gate.cancelled.is_set()


async def test_hooks_that_fail_or_hang_do_not_stop_the_drain(tokens: Tokens) -> None:
    closed = asyncio.Event()

    async def fail() -> None:
        raise RuntimeError("broken hook")

    async def hang() -> None:
        await asyncio.Event().wait()

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        yield
        closed.set()

    async def build(settings: CommonSettings, app: Application) -> None:
        await app.enter(resource())
        app.on_drain(fail)
        app.on_drain(hang)

    async with running(CommonSettings(drain_grace=timedelta(milliseconds=100)), build):
        pass
    assert closed.is_set()


async def test_a_taken_port_is_named(tokens: Tokens) -> None:
    async with Service().running(tokens) as first:
        with pytest.raises(StartError, match=first.address):
            async with Service().running(tokens, listen=first.address):
                pass
        with pytest.raises(StartError, match=first.http_address):
            async with Service().running(tokens, http_listen=first.http_address):
                pass


async def test_audited_methods_need_a_sink(tokens: Tokens) -> None:
    service = Service()

    async def build(settings: CommonSettings, app: Application) -> None:
        await service.build(settings, app)
        app.audit(None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="audit sink"):
        async with running(CommonSettings(issuers=tokens.issuers), build):
            pass


async def test_tls_is_served_from_files(tokens: Tokens, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    service = Service()
    async with service.running(tokens, tls_certificate=certificate, tls_key=key) as it:
        trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
        channel = grpc.aio.secure_channel(it.address, trusted)
        async with connected(it.address, tokens, channel) as client:
            await client.get()
        async with connected(it.address, tokens) as plaintext:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await plaintext.get()
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(StartError, match="absent"):
        async with service.running(tokens, tls_certificate=Path("absent"), tls_key=key):
            pass


async def test_calls_are_counted_and_timed(tokens: Tokens) -> None:
    async with (
        Service().running(tokens) as it,
        connected(it.address, tokens) as client,
    ):
        await client.get()
        with pytest.raises(grpc.aio.AioRpcError):
            await client.get(metadata=())
        async for _ in client.watch():
            pass
        metrics = await _metrics(it.http_address)
    unary = {"grpc_type": "unary", "grpc_service": _WEBHOOKS, "grpc_method": "GetWebhook"}
    stream = {
        "grpc_type": "server_stream",
        "grpc_service": _EXECUTIONS,
        "grpc_method": "WatchExecution",
    }

    def value(name: str, labels: dict[str, str]) -> float:
        return metrics[name, *sorted(labels.items())]

    assert value("grpc_server_started_total", unary) == 2
    assert value("grpc_server_msg_received_total", unary) == 2
    assert value("grpc_server_msg_sent_total", unary) == 1
    assert value("grpc_server_handled_total", unary | {"grpc_code": "OK"}) == 1
    assert value("grpc_server_handled_total", unary | {"grpc_code": "Unauthenticated"}) == 1
    # There from the start, so that the first one shows in a rate.
    assert value("grpc_server_handled_total", unary | {"grpc_code": "Internal"}) == 0
    assert value("grpc_server_handling_seconds_count", unary) == 2
    assert value("grpc_server_msg_sent_total", stream) == 2
    assert value("grpc_server_handled_total", stream | {"grpc_code": "OK"}) == 1
    assert any(name == "brikk_build_info" for name, *_ in metrics)
    assert any(name == "process_resident_memory_bytes" for name, *_ in metrics)


@asynccontextmanager
async def connected_to(service: Service, tokens: Tokens, **settings: Any) -> AsyncIterator[Any]:
    """A client of the service, and what stops the service."""
    manager = service.running(tokens, **settings)
    it = await manager.__aenter__()

    async def stop() -> None:
        await manager.__aexit__(None, None, None)

    async with connected(it.address, tokens) as client:
        yield client, stop


async def _metrics(address: str) -> dict[Any, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as response,
    ):
        assert response.status == 200
        families = text_string_to_metric_families(await response.text())
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
