"""People are told of endpoints that fail, and webhooks of those that never recover are disabled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from brikk.event.v1.event_pb2 import Event
from brikk.webhooks.v1.webhook_pb2 import Delivery, Webhook
from brikk_shared.event import check_event
from brikk_shared.structs import from_struct
from brikk_webhooks.domain.health import MOST_FAILURES
from support.chaos import Receiver as EventReceiver
from support.discovery import until
from support.receiver import answering, receiving
from support.webhooks import AT_ONCE, event, webhooks


@pytest.fixture
async def monitoring() -> AsyncIterator[EventReceiver]:
    receiver = EventReceiver()
    await receiver.come()
    yield receiver
    await receiver.go()


async def told(monitoring: EventReceiver, count: int) -> list[Event]:
    """Waits for so many events of webhooks; gives all of them, without those of attempts."""

    def of_webhooks() -> list[Event]:
        effects = monitoring.inbox.effects
        return [each for each in effects if each.type.startswith("brikk.webhook.")]

    async def enough() -> bool:
        return len(of_webhooks()) >= count

    await until(enough)
    for each in monitoring.inbox.effects:
        assert check_event(each) is None
        assert (each.source, each.organization) == ("brikk.webhooks", "acme")
    return of_webhooks()


async def test_an_endpoint_that_is_gone_is_not_called_again(
    database_url: str, tmp_path: Path, monitoring: EventReceiver
) -> None:
    async with (
        receiving() as receiver,
        webhooks(database_url, tmp_path, monitoring_address=monitoring.address) as (service, _),
    ):
        webhook = await service.create(receiver.behave("/gone", answering(410)))
        await service.update(webhook.name, mask=["max_in_flight"], max_in_flight=1)
        watching = await service.create(receiver.url + "/watches")
        await service.publish(*(event() for _ in range(3)))
        deliveries = await service.ended(webhook)
        states = sorted(delivery.state for delivery in deliveries)
        assert states == [Delivery.STATE_FAILED] + [Delivery.STATE_CANCELLED] * 2
        assert len(receiver.on("/gone")) == 1
        disabled = await service.get(webhook.name)
        assert disabled.state == Webhook.STATE_DISABLED
        assert disabled.state_reason == "the endpoint answered 410: it is gone"
        [only] = await told(monitoring, 1)
        assert (only.type, only.subject) == ("brikk.webhook.disabled.v1", webhook.name)
        assert from_struct(only.data)["reason"] == disabled.state_reason
        # It is for operators: no webhook is told, though it asked for everything.
        assert len(await service.ended(watching)) == 3

        receiver.behave("/gone", answering(200))
        enabled = await service.ask("EnableWebhook", webhook.name)
        assert enabled.state == Webhook.STATE_ACTIVE
        await service.publish(event())
        await service.until(webhook, lambda each: each.HasField("end_time"))
        assert len(receiver.on("/gone")) == 2


async def test_failing_and_recovery_are_told_once(
    database_url: str, tmp_path: Path, monitoring: EventReceiver
) -> None:
    async with (
        receiving() as receiver,
        webhooks(database_url, tmp_path, monitoring_address=monitoring.address) as (service, _),
    ):
        webhook = await service.create(
            receiver.behave("/hook", answering(500)), schedule=[AT_ONCE] * 20
        )
        await service.publish(*(event() for _ in range(MOST_FAILURES)))
        [failing] = await told(monitoring, 1)
        assert failing.type == "brikk.webhook.failing.v1"
        told_failures = from_struct(failing.data)["failures"]
        assert isinstance(told_failures, int | float)
        assert told_failures >= MOST_FAILURES
        receiver.behave("/hook", answering(200))
        # Who changes a webhook need not wait for the next probe.
        await service.update(webhook.name, description="mended")
        await service.until(webhook, lambda each: each.state == Delivery.STATE_DELIVERED)
        _, recovered = await told(monitoring, 2)
        assert recovered.type == "brikk.webhook.recovered.v1"
        assert failing.sequence < recovered.sequence


async def test_who_fails_for_too_long_is_disabled(
    database_url: str, tmp_path: Path, monitoring: EventReceiver
) -> None:
    knobs = {"failing_limit": timedelta(milliseconds=1), "monitoring_address": monitoring.address}
    async with (
        receiving() as receiver,
        webhooks(database_url, tmp_path, **knobs) as (service, _),
    ):
        url = receiver.behave("/hook", answering(500))
        webhook = await service.create(url, schedule=[timedelta(milliseconds=20)])
        await service.publish(event())
        await service.ended(webhook)

        async def disabled() -> bool:
            return (await service.get(webhook.name)).state == Webhook.STATE_DISABLED

        async def announced() -> bool:
            return (await told(monitoring, 1))[-1].type == "brikk.webhook.disabled.v1"

        await until(disabled)
        await until(announced)
