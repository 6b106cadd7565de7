"""Events come in once each, to the webhooks of their organisation that asked for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.webhooks.v1.webhook_pb2 import Webhook
from brikk_shared.errors import Reason
from brikk_shared.status import from_rpc_error, from_status
from brikk_shared.tables import DEAD_LETTER
from brikk_shared.testing import bearer
from brikk_webhooks.store.tables import EVENT
from support.receiver import Receiver, receiving
from support.refusals import refused
from support.webhooks import DEADLINE, GENERATION, Webhooks, event, store, webhooks


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as endpoint:
        yield endpoint


@pytest.fixture
async def service(database_url: str, tmp_path: Path) -> AsyncIterator[Webhooks]:
    async with webhooks(database_url, tmp_path) as (client, _):
        yield client


async def test_a_batch_sent_again_has_no_second_effect(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.url + "/hook")
    items = list(enumerate([event() for _ in range(5)], start=1))
    assert (await service.publish_at(*items[:3])).mark == 3
    assert (await service.publish_at(*items[:3])).mark == 3
    assert (await service.publish_at(*items)).mark == 5
    assert (await service.publish_at()).mark == 5
    deliveries = await service.ended(webhook)
    assert [delivery.event_id for delivery in reversed(deliveries)] == [e.id for _, e in items]
    assert len(receiver.on("/hook")) == 5


async def test_a_new_generation_counts_from_the_start(
    service: Webhooks, receiver: Receiver
) -> None:
    webhook = await service.create(receiver.url + "/hook")
    await service.publish_at((1, event()), (2, event()))
    other = "3f0c9f4e-0000-4000-8000-000000000002"
    assert (await service.publish_at(generation=other)).mark == 0
    assert (await service.publish_at((1, event()), generation=other)).mark == 1
    assert len(await service.deliveries(webhook)) == 3


async def test_events_go_to_those_who_asked(service: Webhooks, receiver: Receiver) -> None:
    exact = await service.create(receiver.url + "/a", "brikk.execution.failed.v1")
    prefix = await service.create(receiver.url + "/b", "brikk.execution.*", "brikk.agent.*")
    everything = await service.create(receiver.url + "/c")
    types = ["brikk.execution.failed.v1", "brikk.execution.started.v1", "brikk.step.failed.v1"]
    await service.publish(*map(event, types))
    got = [
        [delivery.event_type for delivery in reversed(await service.deliveries(webhook))]
        for webhook in (exact, prefix, everything)
    ]
    assert got == [types[:1], types[:2], types]


async def test_events_go_to_those_whose_filters_and_channels_they_pass(
    service: Webhooks, receiver: Receiver
) -> None:
    everything = await service.create(receiver.url + "/all")
    filtered = await service.create(receiver.url + "/filtered")
    channelled = await service.create(receiver.url + "/channelled")
    await service.update(filtered.name, filter='event.data.workflow == "triage"')
    await service.update(channelled.name, channels=["ops", "desk"])
    sent = [
        event(data={"workflow": "triage", "channels": ["desk"]}),
        event(data={"workflow": "triage"}),
        event(data={"channels": ["ops"]}),
        event(data={"workflow": 3.0, "channels": "ops"}),
    ]
    await service.publish(*sent)
    got = [
        [delivery.event_id for delivery in reversed(await service.deliveries(webhook))]
        for webhook in (everything, filtered, channelled)
    ]
    ids = [each.id for each in sent]
    assert got == [ids, ids[:2], [ids[0], ids[2]]]
    # One has no workflow to be asked for.
    assert (await service.get(filtered.name)).filter_failures == 1
    await service.publish(event(data={"channels": ["ops"]}), event(data={"channels": ["desk"]}))
    assert (await service.get(filtered.name)).filter_failures == 3
    renamed = await service.update(filtered.name, description="another one")
    assert renamed.filter_failures == 3
    replaced = await service.update(filtered.name, filter="has(event.data.workflow)")
    assert replaced.filter_failures == 0
    error = await refused(service.update(filtered.name, filter="event.type + 1.0"))
    assert [each.field for each in error.violations] == ["webhook.filter"]


async def test_a_batch_that_takes_long_to_judge_is_taken_in_parts(
    database_url: str, tmp_path: Path
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        for number in range(40):
            condition = f"event.sequence == {number}.0"
            await service.create("https://example.com/", filter=condition)
        batch = list(enumerate([event(sequence=9) for _ in range(300)], start=1))
        broken = event()
        broken.type = ""
        batch.append((301, broken))
        first = await service.publish_at(*batch)
        assert 0 < first.mark < 300
        assert not first.refusals
        second = await service.publish_at(*batch)
        assert second.mark == 301
        assert [each.position for each in second.refusals] == [301]
    async with store(database_url) as database, database.reading() as connection:
        ids = (await connection.execute(select(EVENT.c.id).order_by(EVENT.c.uid))).scalars().all()
        assert ids == [each.id for _, each in batch[:300]]


async def test_a_thin_webhook_gets_everything_but_the_data_and_nothing_keeps_that(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        thin = await service.create(receiver.url + "/thin")
        await service.update(thin.name, payload_mode=Webhook.PAYLOAD_MODE_THIN)
        sent = event(data={"patient": "canary-5b1f"})
        await service.publish(sent)
        [received] = await receiver.wait("/thin")
        received.verify(thin.secret)
        body = json.loads(received.body)
        assert (body["id"], body["subject"]) == (sent.id, sent.subject)
        assert "data" not in body
        await service.ended(thin)
    async with store(database_url) as database, database.reading() as connection:
        for body in (await connection.execute(select(EVENT.c.body))).scalars():
            assert b"canary" not in body
    async with webhooks(database_url, tmp_path) as (service, _):
        full = await service.create(receiver.url + "/full")
        await service.publish_at((2, sent))
        [received] = await receiver.wait("/full")
        assert json.loads(received.body)["data"] == {"patient": "canary-5b1f"}
        both = await receiver.wait("/thin", 2)
        assert both[0].body == both[1].body
        assert full.payload_mode == Webhook.PAYLOAD_MODE_FULL


async def test_events_stay_in_their_organisation(service: Webhooks, receiver: Receiver) -> None:
    mine = await service.create(receiver.url + "/mine")
    theirs = await service.create(receiver.url + "/theirs", organization="other")
    sent = [event(), event(organization="other"), event(organization="third")]
    await service.publish(*sent)
    assert [each.event_id for each in await service.deliveries(mine)] == [sent[0].id]
    [delivery] = await service.deliveries(theirs, organization="other")
    assert delivery.event_id == sent[1].id


async def test_an_event_that_nobody_asked_for_is_not_kept(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with webhooks(database_url, tmp_path) as (service, _):
        await service.create(receiver.url + "/hook", "brikk.agent.*")
        wanted = event("brikk.agent.expired.v1")
        assert (await service.publish(event(), wanted, event())).mark == 3
    async with store(database_url) as database, database.reading() as connection:
        assert list((await connection.execute(select(EVENT.c.id))).scalars()) == [wanted.id]


def _broken() -> list[tuple[Event, str]]:
    """Events that break their contract, each with the field that does."""
    no_type, no_time, bad_organization, nul, long_subject = (event() for _ in range(5))
    no_type.type = ""
    no_time.ClearField("time")
    bad_organization.organization = "Not A Name"
    nul.organization = "ac\0me"
    long_subject.subject = "x" * 257
    deep = event()
    nested = deep.data
    for _ in range(17):
        nested = nested.fields["a"].struct_value
        nested.SetInParent()
    infinite = event()
    infinite.data.fields["n"].number_value = float("inf")
    return [
        (no_type, "type"),
        (no_time, "time"),
        (bad_organization, "organization"),
        (nul, "organization"),
        (long_subject, "subject"),
        (deep, "data"),
        (infinite, "data.n"),
    ]


async def test_refused_items_are_set_aside_one_by_one(
    database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    broken = _broken()
    batch = [event(), *(each for each, _ in broken), event()]
    async with webhooks(database_url, tmp_path) as (service, _):
        webhook = await service.create(receiver.url + "/hook")
        responses = [await service.publish_at(*enumerate(batch, start=1)) for _ in range(2)]
        assert [each.event_id for each in await service.ended(webhook)] == [
            batch[-1].id,
            batch[0].id,
        ]
    for response in responses:
        assert response.mark == len(batch)
        assert [refusal.position for refusal in response.refusals] == list(range(2, len(batch)))
        for refusal, (_, field) in zip(response.refusals, broken, strict=True):
            error = from_status(refusal.status)
            assert error.code == "INVALID_ARGUMENT"
            assert error.reason in (Reason.INVALID_FIELD, Reason.PAYLOAD_TOO_LARGE)
            assert error.violations[0].field.startswith(field), error.violations
    async with store(database_url) as database, database.reading() as connection:
        kept = (await connection.execute(select(DEAD_LETTER).order_by("position"))).all()
    assert [row.position for row in kept] == list(range(2, len(batch)))
    for row, (each, _) in zip(kept, broken, strict=True):
        assert Event.FromString(row.payload) == each
        assert row.message


@pytest.mark.parametrize("positions", [(2, 1), (1, 1)])
async def test_positions_must_ascend(service: Webhooks, positions: tuple[int, int]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.publish_at(*((position, event()) for position in positions))
    error = from_rpc_error(refused.value)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_FIELD)
    assert error.violations[0].field == "items[1].position"
    assert (await service.publish_at()).mark == 0


async def test_only_services_may_publish(service: Webhooks) -> None:
    request = PublishRequest(
        producer="workflow", generation=GENERATION, items=[PublishItem(position=1, event=event())]
    )
    token = service.tokens.user("acme", "webhook.write", "internal")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await service.events.Publish(request, metadata=bearer(token), timeout=DEADLINE)
    assert from_rpc_error(refused.value).reason is Reason.SCOPE_MISSING


async def test_a_full_batch_to_many_webhooks(service: Webhooks, receiver: Receiver) -> None:
    hooks = [await service.create(f"{receiver.url}/{number}") for number in range(4)]
    assert (await service.publish(*(event() for _ in range(500)))).mark == 500
    for number, webhook in enumerate(hooks):
        received = await receiver.wait(f"/{number}", 500)
        assert len({each.headers["webhook-id"] for each in received}) == 500
        assert len(await service.ended(webhook)) == 500
