"""Webhooks are set up, read and deleted by their own organisation only, and bad input is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from brikk.event.v1.event_service_pb2 import PublishRequest
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_shared.errors import Reason
from brikk_shared.status import from_rpc_error
from brikk_shared.testing import bearer
from support.receiver import receiving
from support.refusals import refused
from support.webhooks import DEADLINE, GENERATION, Webhooks, event, webhooks

URL = "https://example.com/hook"


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path, webhook_quota=5) as (client, _):
        yield client


async def test_a_webhook_is_kept_as_it_was_given(service: Webhooks) -> None:
    schedule = [timedelta(milliseconds=1), timedelta(hours=1, microseconds=5)]
    created = await service.create(URL, "brikk.execution.*", "*", schedule=schedule)
    assert created.name.startswith("webhooks/")
    assert (created.url, list(created.event_types)) == (URL, ["brikk.execution.*", "*"])
    assert [wait.ToTimedelta() for wait in created.retry_schedule] == schedule
    age = datetime.now(UTC) - created.create_time.ToDatetime(tzinfo=UTC)
    assert abs(age) < timedelta(minutes=1)
    assert created.secret.startswith("whsec_")

    created.ClearField("secret")
    assert await service.get(created.name) == created


async def test_secrets_are_made_anew_and_shown_once(service: Webhooks) -> None:
    webhooks_made = [await service.create(URL) for _ in range(2)]
    assert len({webhook.secret for webhook in webhooks_made}) == 2
    for webhook in webhooks_made:
        assert not (await service.get(webhook.name)).secret
    assert not any(webhook.secret for webhook in await service.webhooks())


async def test_webhooks_are_listed_by_name_in_pages(service: Webhooks) -> None:
    for webhook_id in ("c", "a", "b"):
        await service.create(URL, webhook_id=webhook_id)
    names, token = [], ""
    while True:
        request = pb.ListWebhooksRequest(page_size=2, page_token=token)
        page = await service.stub.ListWebhooks(
            request, metadata=service.user("acme"), timeout=DEADLINE
        )
        names.append([webhook.name for webhook in page.webhooks])
        if not (token := page.next_page_token):
            break
    assert names == [["webhooks/a", "webhooks/b"], ["webhooks/c"]]


async def test_a_deleted_webhook_is_gone(service: Webhooks) -> None:
    webhook = await service.create(URL)
    await service.delete(webhook)
    for call in (service.get(webhook.name), service.delete(webhook), service.deliveries(webhook)):
        error = await refused(call)
        assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
        assert error.metadata["resource"] == webhook.name


async def test_deliveries_are_listed_newest_first_in_pages_and_by_state(service: Webhooks) -> None:
    async with receiving() as receiver:
        webhook = await service.create(receiver.url + "/hook")
        for _ in range(3):
            await service.publish(event(), event())
        await service.ended(webhook)
        names, token = [], ""
        while True:
            request = pb.ListDeliveriesRequest(
                parent=webhook.name, page_size=4, page_token=token, state=Delivery.STATE_DELIVERED
            )
            page = await service.stub.ListDeliveries(
                request, metadata=service.user("acme"), timeout=DEADLINE
            )
            names += [delivery.name for delivery in page.deliveries]
            if not (token := page.next_page_token):
                break
        assert names == sorted(names, reverse=True)
        assert len(names) == 6
        for state in (Delivery.STATE_FAILED, Delivery.STATE_PENDING):
            request = pb.ListDeliveriesRequest(parent=webhook.name, state=state)
            page = await service.stub.ListDeliveries(
                request, metadata=service.user("acme"), timeout=DEADLINE
            )
            assert not page.deliveries


async def test_the_same_request_creates_once(service: Webhooks) -> None:
    first = await service.create(URL, request_id="r1")
    again = await service.create(URL, request_id="r1")
    assert first.secret
    assert not again.secret
    first.ClearField("secret")
    assert again == first
    assert len(await service.webhooks()) == 1
    # Another organisation's request ids are its own.
    assert (await service.create(URL, request_id="r1", organization="other")).secret


async def test_a_request_id_stands_for_one_request(service: Webhooks) -> None:
    await service.create(URL, request_id="r1")
    error = await refused(service.create(URL + "/other", request_id="r1"))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)
    assert error.metadata["request_id"] == "r1"


async def test_an_id_is_given_once(service: Webhooks) -> None:
    await service.create(URL, webhook_id="hook")
    error = await refused(service.create(URL, webhook_id="hook"))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", Reason.RESOURCE_EXISTS)
    assert error.metadata["resource"] == "webhooks/hook"
    await service.create(URL, webhook_id="hook", organization="other")


async def test_the_quota_holds_under_a_rush(service: Webhooks) -> None:
    rush = [service.create(URL) for _ in range(8)]
    results = await asyncio.gather(*rush, return_exceptions=True)
    errors = [from_rpc_error(each) for each in results if isinstance(each, grpc.RpcError)]
    assert len(errors) == 3
    for error in errors:
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", Reason.QUOTA_EXCEEDED)
        assert error.metadata == {"quota": "webhooks", "limit": "5"}
    await service.create(URL, organization="other")


def _webhook(**changes: object) -> pb.CreateWebhookRequest:
    fields: dict[str, object] = {"url": URL, "event_types": ["*"], **changes}
    return pb.CreateWebhookRequest(webhook=Webhook(**fields))  # type: ignore[arg-type]


BAD_REQUESTS: list[tuple[pb.CreateWebhookRequest, str]] = [
    (pb.CreateWebhookRequest(), "webhook"),
    (_webhook(url=""), "webhook.url"),
    (_webhook(url="ftp://example.com/"), "webhook.url"),
    (_webhook(url="https://user:password@example.com/"), "webhook.url"),
    (_webhook(url="https://example.com/#part"), "webhook.url"),
    (_webhook(url="https://example.com:99999/"), "webhook.url"),
    (_webhook(url="http://127.1/"), "webhook.url"),
    (_webhook(url="https://example.com/" + "a" * 2048), "webhook.url"),
    (_webhook(event_types=[]), "webhook.event_types"),
    (_webhook(event_types=["*"] * 51), "webhook.event_types"),
    (_webhook(event_types=["*", "brikk.*.v1"]), "webhook.event_types[1]"),
    (_webhook(event_types=["Brikk"]), "webhook.event_types[0]"),
    (_webhook(secret="hunter2"), "webhook.secret"),
    (_webhook(secret="whsec_" + "A" * 33), "webhook.secret"),
    (_webhook(description="x" * 1001), "webhook.description"),
    (_webhook(description="a\0b"), "webhook.description"),
    (_webhook(retry_schedule=[Duration(seconds=1)] * 21), "webhook.retry_schedule"),
    (_webhook(retry_schedule=[Duration()]), "webhook.retry_schedule[0]"),
    (_webhook(retry_schedule=[Duration(seconds=-1)]), "webhook.retry_schedule[0]"),
    (_webhook(retry_schedule=[Duration(seconds=604801)]), "webhook.retry_schedule[0]"),
    (pb.CreateWebhookRequest(webhook_id="Hook!", webhook=_webhook().webhook), "webhook_id"),
    (pb.CreateWebhookRequest(request_id="x" * 65, webhook=_webhook().webhook), "request_id"),
]


async def test_bad_webhooks_are_refused_with_the_field(service: Webhooks) -> None:
    for request, field in BAD_REQUESTS:
        call = service.stub.CreateWebhook(request, metadata=service.user("acme"), timeout=DEADLINE)
        error = await refused(call)
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD), field
        assert [each.field for each in error.violations] == [field], error.violations
        assert "hunter2" not in error.message
        assert "password" not in error.message
    assert not await service.webhooks()


async def test_bad_names_and_pages_are_refused_with_the_field(service: Webhooks) -> None:
    webhook = await service.create(URL)
    stub, parent = service.stub, webhook.name
    calls: list[tuple[Callable[..., Awaitable[Message]], Message, Reason, str]] = [
        (stub.GetWebhook, pb.GetWebhookRequest(), Reason.INVALID_FIELD, "name"),
        (stub.GetWebhook, pb.GetWebhookRequest(name="hook"), Reason.INVALID_FIELD, "name"),
        (stub.DeleteWebhook, pb.DeleteWebhookRequest(name="x/y"), Reason.INVALID_FIELD, "name"),
        (
            stub.ListAttempts,
            pb.ListAttemptsRequest(parent=parent),
            Reason.INVALID_FIELD,
            "parent",
        ),
        (
            stub.ListWebhooks,
            pb.ListWebhooksRequest(page_size=-1),
            Reason.INVALID_FIELD,
            "page_size",
        ),
        (
            stub.ListWebhooks,
            pb.ListWebhooksRequest(page_token="made-up"),
            Reason.INVALID_PAGE_TOKEN,
            "page_token",
        ),
        (
            stub.ListDeliveries,
            pb.ListDeliveriesRequest(parent=parent, page_token="made-up"),
            Reason.INVALID_PAGE_TOKEN,
            "page_token",
        ),
        (
            stub.ListDeliveries,
            pb.ListDeliveriesRequest(parent=parent, state=9),  # type: ignore[arg-type]
            Reason.INVALID_FIELD,
            "state",
        ),
    ]
    for method, request, reason, field in calls:
        error = await refused(method(request, metadata=service.user("acme"), timeout=DEADLINE))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", reason), request
        assert [each.field for each in error.violations] == [field]


async def test_what_does_not_exist_is_not_found(service: Webhooks) -> None:
    webhook = await service.create(URL)
    for call in (
        service.get("webhooks/nothing"),
        service.attempts(Delivery(name=f"{webhook.name}/deliveries/nothing")),
        service.attempts(Delivery(name="webhooks/nothing/deliveries/nothing")),
    ):
        assert (await refused(call)).reason is Reason.RESOURCE_NOT_FOUND


async def test_another_organisation_sees_nothing_on_any_rpc(service: Webhooks) -> None:
    async with receiving() as receiver:
        webhook = await service.create(receiver.url + "/hook", webhook_id="hook")
        await service.publish(event())
        [delivery] = await service.ended(webhook)
        stranger = service.user("other")
        stub = service.stub
        for call in (
            stub.GetWebhook(
                pb.GetWebhookRequest(name=webhook.name), metadata=stranger, timeout=DEADLINE
            ),
            stub.DeleteWebhook(
                pb.DeleteWebhookRequest(name=webhook.name), metadata=stranger, timeout=DEADLINE
            ),
            stub.ListDeliveries(
                pb.ListDeliveriesRequest(parent=webhook.name), metadata=stranger, timeout=DEADLINE
            ),
            stub.ListAttempts(
                pb.ListAttemptsRequest(parent=delivery.name), metadata=stranger, timeout=DEADLINE
            ),
        ):
            error = await refused(call)
            assert (error.code, error.reason) == ("NOT_FOUND", Reason.RESOURCE_NOT_FOUND)
        listed = await stub.ListWebhooks(
            pb.ListWebhooksRequest(), metadata=stranger, timeout=DEADLINE
        )
        assert not listed.webhooks
        publishing = service.events.Publish(
            PublishRequest(producer="x", generation=GENERATION), metadata=stranger, timeout=DEADLINE
        )
        assert (await refused(publishing)).code == "PERMISSION_DENIED"
        # Its own webhook of the same name is another one, even with the first one's delivery.
        await service.create(receiver.url + "/theirs", webhook_id="hook", organization="other")
        error = await refused(
            stub.ListAttempts(
                pb.ListAttemptsRequest(parent=delivery.name), metadata=stranger, timeout=DEADLINE
            )
        )
        assert error.reason is Reason.RESOURCE_NOT_FOUND
        assert [each.name for each in await service.deliveries(webhook)] == [delivery.name]


@pytest.mark.parametrize("scopes", [(), ("webhook.read",), ("workflow.write",)])
async def test_scopes_are_needed(service: Webhooks, scopes: tuple[str, ...]) -> None:
    request = pb.CreateWebhookRequest(webhook=_webhook().webhook)
    token = service.tokens.user("acme", *scopes)
    call = service.stub.CreateWebhook(request, metadata=bearer(token), timeout=DEADLINE)
    assert (await refused(call)).reason is Reason.SCOPE_MISSING
    unauthenticated = service.stub.CreateWebhook(request, timeout=DEADLINE)
    assert (await refused(unauthenticated)).reason is Reason.TOKEN_MISSING
