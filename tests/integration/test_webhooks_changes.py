"""Webhooks are changed, paused and resumed; what they are told of is neither lost nor repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import select

from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_shared.errors import Reason
from brikk_webhooks.store.tables import DELIVERY
from support.receiver import Receiver, answering, receiving
from support.refusals import refused
from support.webhooks import AT_ONCE, Webhooks, event, store, webhooks

URL = "https://example.com/hook"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path) as (client, _):
        yield client


async def test_an_update_changes_what_it_names(service: Webhooks) -> None:
    created = await service.create(URL, "brikk.execution.*", schedule=[timedelta(seconds=3)])
    created.ClearField("secret")
    given: dict[str, Any] = {
        "url": URL + "/other",
        "event_types": ["brikk.agent.*"],
        "description": "for the desk",
        "filter": 'event.data.desk == "north"',
        "channels": ["ops"],
        "payload_mode": Webhook.PAYLOAD_MODE_THIN,
        "max_rate": 600,
        "max_in_flight": 4,
        "ordering_key": "data.order.id",
        "payload_retention": Duration(seconds=3600),
    }
    changed = await service.update(created.name, **given)
    assert await service.get(created.name) == changed
    assert changed.etag != created.etag
    assert changed.update_time.ToDatetime() >= created.update_time.ToDatetime()
    expected = Webhook()
    expected.CopyFrom(created)
    for name in (*given, "etag", "update_time"):
        expected.ClearField(name)  # type: ignore[arg-type]  # they are its fields
    expected.MergeFrom(Webhook(**given, etag=changed.etag, update_time=changed.update_time))
    assert changed == expected

    # With a mask, what is not set is cleared.
    cleared = await service.update(
        created.name, mask=["retry_schedule", "max_rate", "payload_retention"]
    )
    assert not cleared.retry_schedule
    assert not cleared.max_rate
    assert not cleared.HasField("payload_retention")
    assert cleared.url == changed.url


async def test_an_update_without_effect_changes_nothing(service: Webhooks) -> None:
    created = await service.create(URL)
    created.ClearField("secret")
    assert await service.update(created.name, url=URL) == created
    assert await service.update(created.name) == created


async def test_an_update_is_refused_when_another_came_first(service: Webhooks) -> None:
    created = await service.create(URL)
    await service.update(created.name, etag=created.etag, description="first")
    error = await refused(service.update(created.name, etag=created.etag, description="second"))
    assert (error.code, error.reason) == ("ABORTED", Reason.ETAG_MISMATCH)
    assert (await service.get(created.name)).description == "first"


BAD_UPDATES: list[tuple[dict[str, Any], list[str], str]] = [
    ({"url": "ftp://example.com"}, [], "webhook.url"),
    ({"url": "http://192.168.1.1/"}, [], "webhook.url"),
    ({}, ["event_types"], "webhook.event_types"),
    ({}, ["url"], "webhook.url"),
    ({"secret": "whsec_" + "A" * 40}, ["secret"], "update_mask"),
    ({}, ["state"], "update_mask"),
    ({}, ["nonsense"], "update_mask"),
    ({"filter": "event.data."}, [], "webhook.filter"),
    ({"channels": ["not a channel"]}, [], "webhook.channels[0]"),
    ({"max_rate": -1}, [], "webhook.max_rate"),
    ({"max_in_flight": 1001}, [], "webhook.max_in_flight"),
    ({"ordering_key": "time"}, [], "webhook.ordering_key"),
    ({"ordering_key": "data."}, [], "webhook.ordering_key"),
    ({"payload_retention": Duration(seconds=-1)}, [], "webhook.payload_retention"),
]
"""Each with its mask, and the field that is refused."""


async def test_a_bad_update_is_refused_with_the_field(service: Webhooks) -> None:
    created = await service.create(URL)
    for fields, mask, field in BAD_UPDATES:
        error = await refused(service.update(created.name, mask=mask, **fields))
        assert error.code == "INVALID_ARGUMENT"
        assert [each.field for each in error.violations] == [field]
    assert (await service.get(created.name)).etag == created.etag


async def test_a_paused_webhook_loses_nothing(service: Webhooks, receiver: Receiver) -> None:
    url = receiver.behave("/hook", answering(500, 204))
    webhook = await service.create(url, schedule=[AT_ONCE])
    other = await service.create(receiver.url + "/other")
    paused: Webhook = await service.ask("PauseWebhook", webhook.name, reason="moving house")
    assert (paused.state, paused.state_reason) == (Webhook.STATE_PAUSED, "moving house")
    sent = [event() for _ in range(3)]
    await service.publish(*sent)
    await service.ended(other)
    assert not receiver.on("/hook")
    deliveries = await service.deliveries(webhook)
    assert [each.state for each in deliveries] == [Delivery.STATE_PENDING] * 3

    resumed: Webhook = await service.ask("ResumeWebhook", webhook.name)
    assert (resumed.state, resumed.state_reason) == (Webhook.STATE_ACTIVE, "")
    ended = await service.ended(webhook)
    assert {each.state for each in ended} == {Delivery.STATE_DELIVERED}
    assert [each.event_id for each in reversed(ended)] == [each.id for each in sent]
    assert len(receiver.on("/hook")) == 4


async def test_pausing_twice_is_pausing_once(service: Webhooks) -> None:
    created = await service.create(URL)
    paused: Webhook = await service.ask("PauseWebhook", created.name, reason="a")
    assert await service.ask("PauseWebhook", created.name, reason="a") == paused
    renamed: Webhook = await service.ask("PauseWebhook", created.name, reason="b")
    assert (renamed.state_reason, renamed.etag != paused.etag) == ("b", True)
    resumed = await service.ask("ResumeWebhook", created.name)
    assert await service.ask("ResumeWebhook", created.name) == resumed
    for verb in ("PauseWebhook", "ResumeWebhook"):
        error = await refused(service.ask(verb, "webhooks/nothing"))
        assert error.reason is Reason.RESOURCE_NOT_FOUND


async def test_deliveries_know_what_keeps_them_in_order(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook")
        await service.publish(event(subject="executions/a"))
        await service.update(webhook.name, ordering_key="subject")
        await service.publish(event(subject="executions/b"))
        await service.ended(webhook)
    async with store(database_url) as database, database.reading() as connection:
        query = select(DELIVERY.c.ordering_key).order_by(DELIVERY.c.id)
        assert (await connection.execute(query)).scalars().all() == [None, "executions/b"]
