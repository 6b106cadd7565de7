"""People send test events and old deliveries again, once each; what they stop is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import text

from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_shared.errors import Reason
from support.receiver import Receiver, answering, receiving
from support.refusals import refused
from support.webhooks import AT_ONCE, DEADLINE, Webhooks, event, store, webhooks

LATER = timedelta(hours=1)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path) as (client, _):
        yield client


async def ended(service: Webhooks, delivery: Delivery) -> Delivery:
    while not delivery.HasField("end_time"):
        delivery = await service.ask("GetDelivery", delivery.name)
    return delivery


async def test_a_test_event_goes_the_way_of_every_other_one(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.url + "/hook", "brikk.agent.*")
    other = await service.create(receiver.url + "/other")
    sent: Delivery = await service.ask("SendTestEvent", webhook.name, request_id="r1")
    assert (sent.state, sent.event_type) == (Delivery.STATE_PENDING, "brikk.webhook.test.v1")
    assert (await ended(service, sent)).state == Delivery.STATE_DELIVERED
    [received] = receiver.on("/hook")
    received.verify(webhook.secret)
    body = json.loads(received.body)
    assert (body["subject"], body["source"]) == (webhook.name, "brikk.webhooks")
    assert sent.name.endswith(received.headers["webhook-id"])

    again: Delivery = await service.ask("SendTestEvent", webhook.name, request_id="r1")
    assert again.name == sent.name
    assert len(receiver.on("/hook")) == 1
    assert not await service.deliveries(other)
    assert len({(await service.ask("SendTestEvent", webhook.name)).name for _ in range(2)}) == 2


async def test_a_delivery_is_sent_again_under_its_id_with_its_whole_schedule(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/hook", answering(500, 500, 500, 204))
    webhook = await service.create(url, schedule=[AT_ONCE])
    await service.publish(event(), event())
    first, second = await service.ended(webhook)
    failed = first if first.state == Delivery.STATE_FAILED else second
    resent: Delivery = await service.ask("ResendDelivery", failed.name, request_id="r1")
    assert resent.state == Delivery.STATE_PENDING
    done = await ended(service, resent)
    assert done.state == Delivery.STATE_DELIVERED
    assert len({each.body for each in receiver.on("/hook")}) == 2
    attempts = await service.attempts(done)
    assert [each.number for each in attempts] == list(range(1, done.attempts + 1))

    # The same request sends it once; another one sends also what was delivered.
    assert await service.ask("ResendDelivery", failed.name, request_id="r1") == done
    await service.ask("ResendDelivery", failed.name, request_id="r2")
    again = await ended(service, await service.ask("GetDelivery", failed.name))
    assert again.attempts == done.attempts + 1
    other = second if failed is first else first
    error = await refused(service.ask("ResendDelivery", other.name, request_id="r2"))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.REQUEST_ID_REUSED)


async def test_what_waits_for_its_next_attempt_is_attempted_at_once(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/hook", answering(500, 204))
    webhook = await service.create(url, schedule=[LATER])
    await service.publish(event())
    [waiting] = await service.until(webhook, lambda each: each.attempts == 1)
    assert waiting.state == Delivery.STATE_PENDING
    await service.ask("ResendDelivery", waiting.name)
    assert (await ended(service, waiting)).state == Delivery.STATE_DELIVERED


async def test_what_is_held_by_its_order_stays_held(service: Webhooks, receiver: Receiver) -> None:
    url = receiver.behave("/hook", answering(500, 204))
    webhook = await service.create(url, schedule=[LATER], ordering_key="subject")
    await service.publish(event(), event())
    await receiver.wait("/hook")
    while (first := (await service.deliveries(webhook))[1]).attempts == 0:
        pass
    held = (await service.deliveries(webhook))[0]
    assert not held.HasField("next_attempt_time")
    resent: Delivery = await service.ask("ResendDelivery", held.name)
    assert not resent.HasField("next_attempt_time")
    await service.ask("ResendDelivery", first.name)
    await service.ended(webhook)
    ids = [each.headers["webhook-id"] for each in receiver.on("/hook")]
    assert [first.name.endswith(each) for each in ids] == [True, True, False]


async def test_a_request_under_way_is_not_sent_beside(
    service: Webhooks, receiver: Receiver
) -> None:
    async def resend_meanwhile(request: web.Request, _before: int) -> web.Response:
        name = f"{webhook.name}/deliveries/{request.headers['webhook-id']}"
        await service.ask("ResendDelivery", name)
        return web.Response(status=204)

    webhook = await service.create(receiver.behave("/hook", resend_meanwhile))
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    assert (delivery.state, delivery.attempts) == (Delivery.STATE_DELIVERED, 1)
    assert len(receiver.on("/hook")) == 1


async def test_disabling_cancels_what_waits_and_can_be_undone(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.behave("/hook", answering(500, 204)), schedule=[LATER])
    await service.publish(event())
    await service.until(webhook, lambda each: each.attempts == 1)
    await service.ask("PauseWebhook", webhook.name)
    await service.publish(event())
    disabled: Webhook = await service.ask("DisableWebhook", webhook.name, reason="gone for good")
    assert (disabled.state, disabled.state_reason) == (Webhook.STATE_DISABLED, "gone for good")
    cancelled = await service.ended(webhook)
    assert [each.state for each in cancelled] == [Delivery.STATE_CANCELLED] * 2
    assert not any(each.HasField("next_attempt_time") for each in cancelled)

    await service.publish(event())
    assert len(await service.deliveries(webhook)) == 2
    for verb in ("PauseWebhook", "ResumeWebhook", "SendTestEvent"):
        error = await refused(service.ask(verb, webhook.name))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.WRONG_STATE)
        assert error.metadata == {"resource": webhook.name, "state": "DISABLED"}
    error = await refused(service.ask("ResendDelivery", cancelled[0].name))
    assert error.reason is Reason.WRONG_STATE

    enabled: Webhook = await service.ask("EnableWebhook", webhook.name)
    assert (enabled.state, enabled.state_reason) == (Webhook.STATE_ACTIVE, "")
    assert await service.ask("EnableWebhook", webhook.name) == enabled
    for each in cancelled:
        await service.ask("ResendDelivery", each.name)
    delivered = await service.ended(webhook)
    assert [each.state for each in delivered] == [Delivery.STATE_DELIVERED] * 2
    request = pb.ListDeliveriesRequest(parent=webhook.name, state=Delivery.STATE_CANCELLED)
    page = await service.stub.ListDeliveries(
        request, metadata=service.user("acme"), timeout=DEADLINE
    )
    assert not page.deliveries


async def test_attempts_are_listed_in_pages(service: Webhooks, receiver: Receiver) -> None:
    url = receiver.behave("/hook", answering(500))
    webhook = await service.create(url, schedule=[AT_ONCE] * 4)
    await service.publish(event())
    [delivery] = await service.ended(webhook)
    numbers, token = [], ""
    while True:
        page = await service.stub.ListAttempts(
            pb.ListAttemptsRequest(parent=delivery.name, page_size=2, page_token=token),
            metadata=service.user("acme"),
            timeout=DEADLINE,
        )
        numbers.append([each.number for each in page.attempts])
        if not (token := page.next_page_token):
            break
    assert numbers == [[1, 2], [3, 4], [5]]


async def test_what_is_erased_cannot_be_sent_again(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook")
        await service.publish(event())
        await service.ended(webhook)
    async with store(database_url) as database, database.transaction() as edit:
        await edit.execute(text("UPDATE event SET body = NULL"))
    async with webhooks(database_url, tmp_path) as (service, _):
        [delivery] = await service.deliveries(webhook)
        error = await refused(service.ask("ResendDelivery", delivery.name))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.PAYLOAD_ERASED)
        assert error.metadata == {"resource": delivery.name}
        for verb in ("GetDelivery", "ResendDelivery"):
            error = await refused(service.ask(verb, f"{webhook.name}/deliveries/nothing"))
            assert error.reason is Reason.RESOURCE_NOT_FOUND
