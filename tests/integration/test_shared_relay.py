"""The relay: events in order, each once in effect, through receivers and relays that fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, text

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRequest
from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, Reason, Unavailable, invalid_field
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_shared.relay import Relay, RelayMetrics
from brikk_shared.tables import DEAD_LETTER, OUTBOX_SHARD
from brikk_shared.testing import ManualClock
from support.inbox import Inbox, event, nothing
from support.producer import AT_REST, Producer
from support.running import running

SECOND = timedelta(seconds=1)


@pytest.fixture
def producer(database: Database) -> Producer:
    return Producer(database)


async def unavailable(_: PublishRequest) -> None:
    raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "down")


async def test_events_arrive_in_order_and_leave_the_outbox(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.add(event(1), event(2))
        await producer.add(event(3))
        await inbox.until(3)
        await producer.rest()
    assert inbox.sequences == [1, 2, 3]
    assert [position for batch in inbox.batches for position in batch] == [1, 2, 3]
    assert await producer.waiting() == 0
    assert {request.producer for request in inbox.requests} == {"workflow"}


async def test_a_relay_asks_before_it_sends(producer: Producer) -> None:
    inbox = Inbox()
    await producer.add(event(1))
    async with producer.relay(inbox):
        await inbox.until(1)
    assert [len(request.items) for request in inbox.requests] == [0, 1]


async def test_a_batch_holds_500_events_at_most(producer: Producer) -> None:
    inbox = Inbox()
    await producer.add(*(event(number) for number in range(1201)))
    async with producer.relay(inbox):
        await inbox.until(1201)
    assert [len(batch) for batch in inbox.batches] == [500, 500, 201]
    assert inbox.sequences == list(range(1201))


async def test_a_batch_holds_a_mebibyte_at_most(producer: Producer) -> None:
    inbox = Inbox()
    await producer.add(*(event(number, text="x" * 50_000) for number in range(50)))
    async with producer.relay(inbox):
        await inbox.until(50)
    sizes = [request.ByteSize() for request in inbox.requests if request.items]
    assert all(900_000 < size <= 1024 * 1024 for size in sizes[:-1])
    assert inbox.sequences == list(range(50))


async def test_an_event_larger_than_a_batch_goes_alone(producer: Producer) -> None:
    inbox = Inbox()
    await producer.add(event(1), event(2, text="x" * 1_100_000), event(3))
    async with producer.relay(inbox):
        await inbox.until(3)
    assert inbox.batches == [[1], [2], [3]]


async def test_news_are_carried_without_waiting(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.rest()
        await producer.add(event(1))
        await inbox.until(1)


async def test_what_another_replica_adds_is_found_within_a_second(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.rest()
        async with producer.database.transaction() as connection:
            await producer.outbox.add(connection, [event(1)])
        producer.clock.advance(SECOND)
        await inbox.until(1)


async def test_a_receiver_that_is_down_costs_delay_only(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.rest()
        inbox.before = unavailable
        await producer.add(event(1), event(2))
        for attempt in range(1, 6):
            await inbox.sent(attempt)
            await producer.rest()
            producer.clock.advance(5 * SECOND)
        assert inbox.sequences == []
        assert set(map(tuple, inbox.batches)) == {(1, 2)}
        inbox.before = nothing
        producer.clock.advance(5 * SECOND)
        await inbox.until(2)
        await producer.rest()
    assert inbox.sequences == [1, 2]
    assert await producer.waiting() == 0


async def test_a_lost_answer_does_not_repeat_the_effect(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.rest()
        inbox.after = unavailable
        await producer.add(event(1), event(2))
        await inbox.sent(1)
        await producer.rest()
        inbox.after = nothing
        producer.clock.advance(SECOND)
        await producer.rest()
    assert inbox.sequences == [1, 2]
    assert inbox.batches == [[1, 2], [1, 2]]
    assert await producer.waiting() == 0


async def test_a_receiver_that_takes_nothing_is_asked_again_later(producer: Producer) -> None:
    inbox = Inbox()
    inbox.forgetful = True
    async with producer.relay(inbox):
        await producer.rest()
        await producer.add(event(1))
        await inbox.sent(1)
        await producer.rest()
        assert inbox.batches == [[1]]
        assert await producer.waiting() == 1


async def test_another_relay_carries_on_with_the_very_same_batch(producer: Producer) -> None:
    inbox = Inbox()
    arrived = asyncio.Event()

    async def hang(request: PublishRequest) -> None:
        if request.items:
            arrived.set()
            await asyncio.Event().wait()

    inbox.after = hang
    await producer.add(event(1), event(2))
    async with producer.relay(inbox):
        await arrived.wait()
        await producer.add(event(3))
    inbox.after = nothing
    async with producer.relay(inbox, owner="two"):
        await inbox.until(3)
        await producer.rest()
    assert inbox.sequences == [1, 2, 3]
    # The mark told that the first batch had arrived.
    assert inbox.batches == [[1, 2], [3]]
    assert await producer.waiting() == 0


async def test_a_batch_that_never_arrived_is_sent_again_unchanged(producer: Producer) -> None:
    inbox = Inbox()
    arrived = asyncio.Event()

    async def hang(request: PublishRequest) -> None:
        if request.items:
            arrived.set()
            await asyncio.Event().wait()

    inbox.before = hang
    await producer.add(event(1), event(2))
    async with producer.relay(inbox):
        await arrived.wait()
        await producer.add(event(3))
    inbox.before = nothing
    async with producer.relay(inbox, owner="two"):
        await inbox.until(3)
    assert inbox.batches == [[1, 2], [1, 2], [3]]
    assert inbox.sequences == [1, 2, 3]


async def test_a_relay_that_lost_its_lease_changes_nothing(producer: Producer) -> None:
    inbox = Inbox()
    hanging, go_on = asyncio.Event(), asyncio.Event()

    async def pause(request: PublishRequest) -> None:
        if request.items and not hanging.is_set():
            hanging.set()
            await go_on.wait()

    inbox.after = pause
    await producer.add(event(1))
    async with producer.relay(inbox):
        await hanging.wait()
        # It stands still, so it does not notice that its lease ended.
        async with producer.database.transaction() as connection:
            await connection.execute(text("UPDATE lease SET expires_at = 0"))
        async with producer.relay(inbox, owner="two"):
            await producer.clock.sleeping(3 + AT_REST)
            await producer.add(event(2))
            await inbox.until(2)
            await producer.clock.sleeping(3 + AT_REST)
            go_on.set()
            await producer.clock.sleeping(2 + AT_REST)
            assert inbox.sequences == [1, 2]
            assert await producer.waiting() == 0
    async with producer.database.reading() as connection:
        assert (await connection.execute(select(OUTBOX_SHARD.c.position))).scalar_one() == 2


async def test_a_store_that_went_back_begins_a_new_generation(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.add(event(1))
        await inbox.until(1)
        await producer.rest()
    async with producer.database.reading() as connection:
        backup = (await connection.execute(select(OUTBOX_SHARD))).one()
    async with producer.relay(inbox):
        await producer.add(event(2), event(3))
        await inbox.until(3)
        await producer.rest()
    async with producer.database.transaction() as connection:
        await connection.execute(OUTBOX_SHARD.update().values(**backup._mapping))
    # What is new since would be skipped under its old positions.
    async with producer.relay(inbox):
        await producer.add(event(4))
        await inbox.until(4)
        await producer.rest()
    assert inbox.sequences == [1, 2, 3, 4]
    assert sorted(inbox.marks.values()) == [1, 3]
    assert await producer.waiting() == 0


async def test_a_store_that_is_replaced_under_a_running_relay_is_noticed(
    producer: Producer,
) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.add(event(1))
        await inbox.until(1)
        await producer.rest()
        async with producer.database.transaction() as connection:
            await connection.execute(OUTBOX_SHARD.update().values(position=0))
        await producer.add(event(2))
        await inbox.until(2)
        await producer.rest()
    assert inbox.sequences == [1, 2]
    assert sorted(inbox.marks.values()) == [1, 1]


async def test_an_event_that_makes_its_batch_fail_is_found_and_set_aside(
    producer: Producer,
) -> None:
    inbox = Inbox()

    async def refuse(request: PublishRequest) -> None:
        if any(item.event.sequence in (3, 7) for item in request.items):
            raise invalid_field("items", "are not what they should be")

    inbox.before = refuse
    await producer.add(*(event(number) for number in range(10)))
    async with producer.relay(inbox):
        await inbox.until(8)
        await producer.rest()
    assert inbox.sequences == [0, 1, 2, 4, 5, 6, 8, 9]
    assert await producer.waiting() == 0
    async with producer.database.reading() as connection:
        letters = (await connection.execute(select(DEAD_LETTER).order_by(text("position")))).all()
    assert [Event.FromString(letter.payload).sequence for letter in letters] == [3, 7]
    assert {letter.reason for letter in letters} == {"INVALID_FIELD"}
    assert producer.sample("brikk_outbox_refused_total") == 2


async def test_a_producer_that_is_refused_keeps_its_events(producer: Producer) -> None:
    inbox = Inbox()

    async def refuse(_: PublishRequest) -> None:
        raise InvalidArgument(Reason.INVALID_FIELD, "producer is not known")

    inbox.before = refuse
    await producer.add(event(1))
    async with producer.relay(inbox):
        await producer.rest()
    assert await producer.waiting() == 1


async def test_the_metrics_tell_how_it_goes(producer: Producer) -> None:
    inbox = Inbox()
    inbox.before = unavailable
    await producer.add(event(1), event(2))
    producer.clock.jump(timedelta(minutes=1))
    async with producer.relay(inbox):
        await producer.rest()
        assert producer.sample("brikk_outbox_depth") == 2
        assert producer.sample("brikk_outbox_oldest_seconds") == 60
        assert producer.sample("brikk_outbox_publish_failures_total") == 1
        inbox.before = nothing
        producer.clock.advance(SECOND)
        await inbox.until(2)
        await producer.rest()
        producer.clock.advance(5 * SECOND)
        await producer.rest()
        assert producer.sample("brikk_outbox_depth") == 0
        assert producer.sample("brikk_outbox_oldest_seconds") == 0
        assert producer.sample("brikk_outbox_published_total") == 2


async def test_each_destination_gets_every_event(database: Database) -> None:
    outbox = Outbox(database, source="brikk.workflow", destinations=("webhooks", "monitoring"))
    clock, metrics = ManualClock(), RelayMetrics(CollectorRegistry())
    inboxes = {"webhooks": Inbox(), "monitoring": Inbox()}
    inboxes["monitoring"].before = unavailable
    relays = [
        Relay(
            database,
            Leases(database, "one", clock),
            outbox,
            producer="workflow",
            destination=destination,
            publish=inbox.publish,
            metrics=metrics,
            clock=clock,
        )
        for destination, inbox in inboxes.items()
    ]
    async with running(relays[0].run), running(relays[1].run):
        async with database.transaction() as connection:
            await outbox.add(connection, [event(1), event(2)])
        outbox.wake()
        # The one that is down does not hold up the other.
        await inboxes["webhooks"].until(2)
        inboxes["monitoring"].before = nothing
        await clock.sleeping(2 * AT_REST)
        clock.advance(SECOND)
        await inboxes["monitoring"].until(2)
    assert inboxes["webhooks"].sequences == inboxes["monitoring"].sequences == [1, 2]


async def test_an_outbox_holds_events_of_its_own_source_only(producer: Producer) -> None:
    stranger = event(1)
    stranger.source = "brikk.discovery"
    with pytest.raises(ValueError, match=r"brikk\.workflow"):
        await producer.add(stranger)
