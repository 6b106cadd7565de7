"""Replays make new deliveries of those that match, each once; statistics agree with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import func, insert, select, text

from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk.webhooks.v1.replay_pb2 import Replay as ReplayMessage
from brikk.webhooks.v1.webhook_pb2 import Delivery
from brikk_shared.errors import FailedPrecondition, Reason
from brikk_shared.ids import first_id, new_id
from brikk_webhooks.domain.catalog import EVENT_TYPES
from brikk_webhooks.domain.delivery import DeliveryState
from brikk_webhooks.domain.replay import Replay, ReplayState
from brikk_webhooks.store.replays import BATCH, Replays, get_replay
from brikk_webhooks.store.tables import DELIVERY, REPLAY
from support.receiver import Receiver, answering, receiving
from support.refusals import refused
from support.webhook_queue import QueueStore
from support.webhooks import AT_ONCE, DEADLINE, Webhooks, event, store, webhooks

FAILED_TYPE = "brikk.execution.failed.v1"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path) as (client, _):
        yield client


async def done(service: Webhooks, replay: ReplayMessage) -> ReplayMessage:
    while replay.state == ReplayMessage.STATE_RUNNING:
        replay = await service.ask("GetReplay", replay.name)
    return replay


def after(delivery: Delivery) -> Timestamp:
    time = Timestamp()
    time.FromNanoseconds(delivery.create_time.ToNanoseconds() + 1000)
    return time


async def test_dead_letters_are_delivered_under_new_ids_and_nothing_else_is(
    service: Webhooks, receiver: Receiver
) -> None:
    url = receiver.behave("/hook", answering(204, 500, 500, 500, 500, 204))
    webhook = await service.create(url, schedule=[AT_ONCE])
    # One after the other, so that it is known which fail.
    for event_type in (event().type, FAILED_TYPE, event().type):
        await service.publish(event(event_type))
        await service.ended(webhook)
    third, second, first = await service.deliveries(webhook)
    states = [each.state for each in (first, second, third)]
    assert states == [Delivery.STATE_DELIVERED, Delivery.STATE_FAILED, Delivery.STATE_FAILED]
    asked = {"event_types": ["brikk.execution.failed.*"], "request_id": "r1"}
    replay: ReplayMessage = await service.ask("ReplayDeliveries", webhook.name, **asked)
    finished = await done(service, replay)
    assert (finished.state, finished.replayed) == (ReplayMessage.STATE_SUCCEEDED, 1)
    assert finished.HasField("complete_time")
    new = (await service.ended(webhook))[0]
    assert (new.event_id, new.state) == (second.event_id, Delivery.STATE_DELIVERED)
    assert new.name not in {first.name, second.name, third.name}
    assert len(receiver.received) == 6
    assert receiver.received[-1].body == receiver.received[1].body

    # The same request does it once; another one does the rest.
    assert await service.ask("ReplayDeliveries", webhook.name, **asked) == finished
    error = await refused(service.ask("ReplayDeliveries", webhook.name, request_id="r1"))
    assert error.reason is Reason.REQUEST_ID_REUSED
    everything = await done(
        service,
        await service.ask(
            "ReplayDeliveries",
            webhook.name,
            delivery_states=[Delivery.STATE_DELIVERED, Delivery.STATE_FAILED],
            start_time=after(first),
            end_time=after(third),
        ),
    )
    assert everything.replayed == 2
    assert len(await service.ended(webhook)) == 6


BAD_REPLAYS: list[tuple[dict[str, Any], str]] = [
    ({"delivery_states": [Delivery.STATE_PENDING]}, "delivery_states[0]"),
    ({"delivery_states": [Delivery.STATE_UNSPECIFIED]}, "delivery_states[0]"),
    ({"event_types": ["brikk.*.v1"]}, "event_types[0]"),
    ({"start_time": Timestamp(seconds=9), "end_time": Timestamp(seconds=9)}, "end_time"),
]
"""Each with the field that is refused."""


async def test_what_cannot_be_replayed_is_refused(service: Webhooks) -> None:
    webhook = await service.create("https://example.com/")
    for fields, field in BAD_REPLAYS:
        error = await refused(service.ask("ReplayDeliveries", webhook.name, **fields))
        assert [each.field for each in error.violations] == [field]
    error = await refused(service.ask("GetReplay", f"{webhook.name}/replays/none"))
    assert error.reason is Reason.RESOURCE_NOT_FOUND
    await service.ask("DisableWebhook", webhook.name)
    error = await refused(service.ask("ReplayDeliveries", webhook.name))
    assert (error.reason, error.metadata["state"]) == (Reason.WRONG_STATE, "DISABLED")


async def test_a_replay_goes_on_as_room_comes_and_counts_what_is_erased(database_url: str) -> None:
    async with store(database_url) as database:
        queue = QueueStore(database)
        replays = Replays(database, queue.intake)
        uid = await queue.add_webhook("hook")
        await queue.publish(BATCH + 20)
        async with database.transaction() as edit:
            await edit.execute(text("UPDATE delivery SET state = 3"))
            newest = select(DELIVERY.c.event_uid).order_by(DELIVERY.c.id.desc()).limit(5)
            for event_uid in (await edit.execute(newest)).scalars().all():
                await edit.execute(
                    text("UPDATE event SET body = NULL WHERE uid = :uid"), {"uid": event_uid}
                )
            replay = await replays.begin(
                edit,
                uid,
                Replay(
                    id=new_id(),
                    delivery_states=(DeliveryState.FAILED,),
                    event_types=(),
                    start_time=None,
                    end_time=None,
                ),
                name="webhooks/hook",
                request_id="",
                digest=b"",
            )
        assert await replays.running(limit=9) == [(uid, replay.id)]
        assert await replays.carry_on(uid, replay.id) == BATCH
        assert await replays.carry_on(uid, replay.id) == 0
        async with database.transaction() as edit:
            await edit.execute(text("UPDATE delivery SET state = 2 WHERE state = 1"))
        assert await replays.carry_on(uid, replay.id) == 15
        async with database.reading() as connection:
            ended = await get_replay(connection, "acme", "hook", replay.id)
        assert ended is not None
        assert (ended.state, ended.replayed, ended.erased) == (
            ReplayState.SUCCEEDED,
            BATCH + 15,
            5,
        )
        assert not await replays.running(limit=9)


async def test_one_runs_at_a_time_and_disabling_ends_it(database_url: str) -> None:
    async with store(database_url) as database:
        queue = QueueStore(database)
        replays = Replays(database, queue.intake)
        uid = await queue.add_webhook("hook")

        async def begin(number: int) -> Replay:
            draft = Replay(
                id=new_id(),
                delivery_states=(DeliveryState.FAILED,),
                event_types=(),
                start_time=None,
                end_time=datetime(2026, 1, 1, tzinfo=UTC),
            )
            async with database.transaction() as connection:
                return await replays.begin(
                    connection, uid, draft, name="webhooks/hook", request_id=str(number), digest=b""
                )

        first = await begin(1)
        with pytest.raises(FailedPrecondition) as another:
            await begin(2)
        name = f"webhooks/hook/replays/{first.id}"
        assert another.value.metadata == {"resource": name, "state": "RUNNING"}
        async with database.transaction() as edit:
            await edit.execute(text("UPDATE webhook SET state = 3"))
        assert await replays.carry_on(uid, first.id) == 0
        # Only the last hundred are kept.
        async with database.transaction() as edit:
            [row] = await edit.execute(select(REPLAY))
            others = [{**row._mapping, "id": new_id(), "request_id": None} for _ in range(120)]
            await edit.execute(insert(REPLAY), others)
        newest = await begin(2)
        assert await replays.carry_on(uid, newest.id) == 0
        async with database.reading() as connection:
            states = select(REPLAY.c.state, func.count()).group_by(REPLAY.c.state)
            found = [tuple(row) for row in await connection.execute(states)]
        assert found == [(ReplayState.CANCELLED, 100)]


async def test_statistics_agree_with_the_rows(service: Webhooks, receiver: Receiver) -> None:
    url = receiver.behave("/hook", answering(500, 204, 503, 503, 503, 204))
    webhook = await service.create(url, schedule=[AT_ONCE, AT_ONCE])
    for _ in range(3):
        await service.publish(event())
        await service.ended(webhook)
    await service.ask("PauseWebhook", webhook.name)
    await service.publish(event())
    deliveries = await service.deliveries(webhook)
    stats = await service.ask("GetWebhookStats", webhook.name)
    assert (stats.webhook, stats.deliveries) == (webhook.name, len(deliveries))
    states = Counter(each.state for each in deliveries)
    assert (stats.pending, stats.delivered, stats.failed, stats.cancelled) == (1, 2, 1, 0)
    assert states == {
        Delivery.STATE_PENDING: 1,
        Delivery.STATE_DELIVERED: 2,
        Delivery.STATE_FAILED: 1,
    }
    attempts = [each for delivery in deliveries for each in await service.attempts(delivery)]
    assert stats.attempts == len(attempts) == 6
    counted = {each.response_status: each.attempts for each in stats.statuses}
    assert counted == Counter(each.response_status for each in attempts)
    latencies = sorted(each.latency.ToTimedelta() for each in attempts)
    assert stats.latency_p50.ToTimedelta() == latencies[2]
    assert stats.latency_p95.ToTimedelta() == stats.latency_p99.ToTimedelta() == latencies[5]

    early = await service.ask("GetWebhookStats", webhook.name, end_time=deliveries[-1].create_time)
    assert (early.deliveries, early.attempts, early.HasField("latency_p50")) == (0, 0, False)
    for start in (stats.end_time, Timestamp(seconds=1)):
        window = {"start_time": start, "end_time": stats.end_time}
        error = await refused(service.ask("GetWebhookStats", webhook.name, **window))
        assert [each.field for each in error.violations] == ["start_time"]


async def test_event_types_are_listed_in_pages(service: Webhooks) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = await service.stub.ListEventTypes(
            pb.ListEventTypesRequest(page_size=7, page_token=token),
            metadata=service.user("acme"),
            timeout=DEADLINE,
        )
        names += [each.type for each in page.event_types]
        assert all(each.description for each in page.event_types)
        if not (token := page.next_page_token):
            break
    assert names == list(EVENT_TYPES)


def test_an_id_lies_between_the_moments_around_it() -> None:
    before, made, later = datetime.now(UTC), new_id(), datetime.now(UTC)
    assert first_id(before) <= made < first_id(later + timedelta(milliseconds=2))
