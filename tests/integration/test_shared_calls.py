"""What every call passes, over real connections: token, scope, organisation, contract, error."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from brikk.webhooks.v1 import webhook_service_pb2
from brikk_shared import errors
from brikk_shared.errors import BrikkError, Reason, not_found
from brikk_shared.metadata import REQUEST_ID_KEY, TRACEPARENT_KEY
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import ManualClock, Tokens, bearer
from support.shared_service import SCOPES, SECRET, Gate, Service, connected

_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


async def _refusal(call: Any) -> BrikkError:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert dict(failed.value.trailing_metadata() or ())[REQUEST_ID_KEY]
    return from_rpc_error(failed.value)


async def test_an_allowed_call_is_answered(tokens: Tokens) -> None:
    service = Service()
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        assert (await client.get("webhooks/a")).name == "webhooks/a"
    (call,) = service.calls
    assert call.method == "/brikk.webhooks.v1.WebhookService/GetWebhook"
    assert call.identity.organization == "acme"
    assert call.identity.subject == "users/tester"
    assert call.audit is None


async def test_who_may_not_call_is_told_why(tokens: Tokens) -> None:
    service = Service()
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        missing = await _refusal(client.get(metadata=()))
        assert (missing.code, missing.reason) == ("UNAUTHENTICATED", Reason.TOKEN_MISSING)
        basic = await _refusal(client.get(metadata=(("authorization", "Basic eA=="),)))
        assert basic.reason is Reason.TOKEN_MISSING
        junk = await _refusal(client.get(metadata=bearer("junk")))
        assert (junk.code, junk.reason) == ("UNAUTHENTICATED", Reason.TOKEN_INVALID)
        late = await _refusal(
            client.get(metadata=bearer(tokens.user("acme", *SCOPES, lifetime=timedelta(0))))
        )
        assert late.reason is Reason.TOKEN_INVALID
        narrow = await _refusal(client.get(metadata=bearer(tokens.user("acme", "webhook.write"))))
        assert (narrow.code, narrow.reason) == ("PERMISSION_DENIED", Reason.SCOPE_MISSING)
        assert narrow.metadata == {"scope": "webhook.read"}
    assert service.calls == []


async def test_only_services_name_the_organisation_they_act_for(tokens: Tokens) -> None:
    service = Service()
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        internal = tokens.internal("webhook.read")
        await client.get(metadata=bearer(internal, "other"))
        nobody = await _refusal(client.get(metadata=bearer(internal)))
        assert nobody.violations[0].field == "brikk-organization"
        odd = await _refusal(client.get(metadata=bearer(internal, "no such label")))
        assert odd.violations[0].field == "brikk-organization"
        # A user's is the one of the token, whatever the metadata says.
        await client.get(metadata=bearer(tokens.user("acme", *SCOPES), "other"))
    assert [call.identity.organization for call in service.calls] == ["other", "acme"]


async def test_bad_requests_name_their_fields(tokens: Tokens) -> None:
    async with (
        Service().running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        wrong = await _refusal(client.get("nonsense"))
        assert (wrong.code, wrong.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
        assert [each.field for each in wrong.violations] == ["name"]
        raw: Any = client.channel.unary_unary("/brikk.webhooks.v1.WebhookService/GetWebhook")
        undecodable = await _refusal(raw(b"\x0a\x02\xff\xfe", metadata=client.metadata))
        assert undecodable.code == "INVALID_ARGUMENT"
        assert undecodable.reason is Reason.UNDECODABLE_REQUEST
        # Who it is comes first.
        stranger = await _refusal(raw(b"\x0a\x02\xff\xfe"))
        assert stranger.reason is Reason.TOKEN_MISSING


async def test_an_error_keeps_its_code_reason_and_details(tokens: Tokens) -> None:
    async def exhausted() -> None:
        raise errors.ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            "too many webhooks",
            metadata={"quota": "webhooks", "limit": "5"},
            retry_after=timedelta(seconds=2),
        )

    service = Service(answer=exhausted)
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        error = await _refusal(client.get())
    assert isinstance(error, errors.ResourceExhausted)
    assert error.reason is Reason.QUOTA_EXCEEDED
    assert error.metadata == {"quota": "webhooks", "limit": "5"}
    assert error.retry_after == timedelta(seconds=2)


async def test_a_defect_tells_nothing_but_its_request_id(tokens: Tokens) -> None:
    async def defect() -> None:
        raise RuntimeError("could not connect to postgresql://user:password@host")

    service = Service(answer=defect)
    with capture_logs() as lines:
        async with (
            service.running(tokens) as running,
            connected(running.address, tokens) as client,
        ):
            metadata = (*client.metadata, (REQUEST_ID_KEY, "my-request"))
            error = await _refusal(client.get(metadata=metadata))
    assert (error.code, error.reason) == ("INTERNAL", Reason.INTERNAL)
    assert error.message == "internal error"
    assert error.metadata == {"request_id": "my-request"}
    (line,) = [each for each in lines if each.get("code") == "INTERNAL"]
    assert line["log_level"] == "error"
    assert line["request_id"] == "my-request"
    assert isinstance(line["exc_info"], RuntimeError)


async def test_what_is_not_implemented_says_so(tokens: Tokens) -> None:
    async with (
        Service().running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        request = webhook_service_pb2.ListWebhooksRequest()
        error = await _refusal(client.webhooks.ListWebhooks(request, metadata=client.metadata))
        assert (error.code, error.reason) == ("UNIMPLEMENTED", Reason.UNIMPLEMENTED)
        unknown: Any = client.channel.unary_unary("/brikk.webhooks.v1.WebhookService/Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await unknown(b"", metadata=client.metadata)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_abort_by_hand_is_counted_and_audited_as_what_it_is(tokens: Tokens) -> None:
    service = Service()
    with capture_logs() as lines:
        async with (
            service.running(tokens) as running,
            connected(running.address, tokens) as client,
        ):
            request = webhook_service_pb2.DeleteWebhookRequest(name="webhooks/a")
            call = client.webhooks.DeleteWebhook(request, metadata=client.metadata)
            error = await _refusal(call)
    assert (error.code, error.message) == ("OUT_OF_RANGE", "by hand")
    assert [each["code"] for each in lines if each["event"] == "call"] == ["OUT_OF_RANGE"]
    assert [each.outcome for each in service.entries] == ["OUT_OF_RANGE"]


async def test_a_request_id_and_trace_context_are_kept_when_they_are_sane(tokens: Tokens) -> None:
    service = Service()
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        for request_id, traceparent in (("mine-1", _TRACEPARENT), ("x" * 65, "nonsense")):
            extra = ((REQUEST_ID_KEY, request_id), (TRACEPARENT_KEY, traceparent))
            call = client.get(metadata=(*client.metadata, *extra))
            await call
            returned = dict(await call.trailing_metadata())[REQUEST_ID_KEY]
            assert returned == service.calls[-1].request_id
    first, second = service.calls
    assert (first.request_id, first.traceparent) == ("mine-1", _TRACEPARENT)
    assert second.request_id != "x" * 65
    assert second.traceparent == ""


async def test_floods_are_turned_away(tokens: Tokens) -> None:
    clock = ManualClock()
    ours = Tokens(_sub(tokens), clock=clock)
    service = Service()
    async with (
        service.running(ours, clock=clock, rate_limit=1.0, rate_burst=2) as running,
        connected(running.address, ours) as client,
    ):
        await client.get()
        await client.get()
        flood = await _refusal(client.create())
        assert (flood.code, flood.reason) == ("RESOURCE_EXHAUSTED", Reason.RATE_LIMITED)
        assert flood.retry_after == timedelta(seconds=1)
        # Another principal is not held up.
        await client.get(metadata=bearer(ours.user("acme", *SCOPES, subject="users/other")))
        clock.advance(timedelta(seconds=1))
        await client.get()
    assert service.entries == []  # refusals of a flood are not worth a row each


async def test_calls_under_way_are_bounded(tokens: Tokens) -> None:
    gate = Gate()
    async with (
        Service(answer=gate).running(tokens, max_concurrent_calls=1) as running,
        connected(running.address, tokens) as client,
    ):
        first = asyncio.ensure_future(client.get())
        await gate.entered.wait()
        busy = await _refusal(client.get())
        assert busy.metadata == {"quota": "concurrent_calls"}
        gate.opened.set()
        await first
        await client.get()


async def test_no_call_of_a_burst_is_cancelled_without_a_word(tokens: Tokens) -> None:
    async with (
        Service().running(tokens, max_concurrent_calls=100, rate_burst=10_000) as running,
        connected(running.address, tokens) as client,
    ):
        # More than gRPC lets wait unless it is told to.
        calls = [asyncio.ensure_future(client.get(timeout=60)) for _ in range(5_000)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refusals = [each for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
    assert {from_rpc_error(each).reason for each in refusals} <= {Reason.RATE_LIMITED}


async def test_a_large_message_is_refused(tokens: Tokens) -> None:
    async with (
        Service().running(tokens, max_message_bytes=10_000) as running,
        connected(running.address, tokens) as client,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await client.get("webhooks/" + "a" * 20_000)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_deadline_cancels_the_servicer(tokens: Tokens) -> None:
    gate = Gate()
    with capture_logs() as lines:
        async with (
            Service(answer=gate).running(tokens) as running,
            connected(running.address, tokens) as client,
        ):
            call = client.get(timeout=1)
            await gate.entered.wait()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await call
            assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await gate.cancelled.wait()
    (line,) = [each for each in lines if each["event"] == "call"]
    assert line["code"] == "DEADLINE_EXCEEDED"


async def test_a_caller_that_gives_up_cancels_the_servicer(tokens: Tokens) -> None:
    gate = Gate()
    with capture_logs() as lines:
        async with (
            Service(answer=gate).running(tokens) as running,
            connected(running.address, tokens) as client,
        ):
            call = client.get()
            await gate.entered.wait()
            call.cancel()
            await gate.cancelled.wait()
    (line,) = [each for each in lines if each["event"] == "call"]
    assert (line["code"], line["log_level"]) == ("CANCELLED", "info")


async def test_streams_are_served_refused_and_broken_off(tokens: Tokens) -> None:
    gate = Gate()
    service = Service(stream=gate)
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        gate.opened.set()
        assert [each.execution.name async for each in client.watch()] == ["executions/a"] * 2

        refused = client.watch(metadata=())
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await refused.read()
        assert from_rpc_error(failed.value).reason is Reason.TOKEN_MISSING

        gate.opened.clear()
        left = client.watch()
        await left.read()
        left.cancel()
        await gate.cancelled.wait()


async def test_a_stream_ends_with_the_token_that_it_was_called_with(tmp_path: Path) -> None:
    clock = ManualClock()
    tokens = Tokens(tmp_path, clock=clock)
    gate = Gate()
    async with (
        Service(stream=gate).running(tokens, clock=clock) as running,
        connected(running.address, tokens) as client,
    ):
        short = bearer(tokens.user("acme", *SCOPES, lifetime=timedelta(minutes=5)))
        ended, lasting = client.watch(metadata=short), client.watch()
        await asyncio.gather(ended.read(), lasting.read())
        clock.advance(timedelta(minutes=5))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ended.read()
        error = from_rpc_error(failed.value)
        assert (error.code, error.reason) == ("UNAUTHENTICATED", Reason.TOKEN_INVALID)
        gate.opened.set()
        await lasting.read()


async def test_a_stream_may_end_with_an_error(tokens: Tokens) -> None:
    async def gone() -> None:
        raise not_found("executions/a")

    async with (
        Service(stream=gone).running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        call = client.watch()
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
        assert from_rpc_error(failed.value).reason is Reason.RESOURCE_NOT_FOUND


async def test_mutating_calls_leave_an_audit_entry(tokens: Tokens) -> None:
    async def fail() -> None:
        raise not_found("webhooks/a")

    async def recorded_by_its_transaction() -> None:
        audit = service.calls[-1].audit
        assert audit is not None
        audit.recorded = True

    service = Service()
    async with (
        service.running(tokens) as running,
        connected(running.address, tokens) as client,
    ):
        await client.get()
        await _refusal(client.create(metadata=()))
        assert service.entries == []  # reading, and strangers, leave no entry

        await client.create()
        (entry,) = service.entries
        assert (entry.organization, entry.actor) == ("acme", "users/tester")
        assert entry.method == "/brikk.webhooks.v1.WebhookService/CreateWebhook"
        assert entry.request_id == service.calls[-1].request_id
        assert "127.0.0.1" in entry.peer
        assert entry.outcome == "OK"
        assert len(entry.request_digest) == 64
        assert SECRET not in str(entry)

        service.answer = recorded_by_its_transaction
        await client.create()
        assert len(service.entries) == 1

        service.answer = fail
        await _refusal(client.create())
        narrow = bearer(tokens.user("acme", "webhook.read"))
        await _refusal(client.create(metadata=narrow))
        raw: Any = client.channel.unary_unary("/brikk.webhooks.v1.WebhookService/CreateWebhook")
        await _refusal(raw(b"\xff", metadata=client.metadata))
        assert [each.outcome for each in service.entries[1:]] == [
            "NOT_FOUND",
            "PERMISSION_DENIED",
            "INVALID_ARGUMENT",
        ]


def _sub(tokens: Tokens) -> Path:
    folder = tokens.users_key.parent / "ours"
    folder.mkdir()
    return folder
