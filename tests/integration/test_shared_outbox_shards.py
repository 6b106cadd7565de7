"""The shards of an outbox: side by side, in order per subject, and taken over together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from brikk.event.v1.event_service_pb2 import PublishRequest
from brikk_shared.database import Database
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.outbox_shard import SHARDS, shard_of
from brikk_shared.tables import OUTBOX_SHARD
from support.inbox import Inbox, event, nothing
from support.producer import Producer

SECOND = timedelta(seconds=1)
SUBJECTS = [f"executions/{number}" for number in range(100)]


@pytest.fixture
def producer(database: Database) -> Producer:
    return Producer(database)


def by_subject(inbox: Inbox) -> dict[str, list[int]]:
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for each in inbox.effects:
        sequences[each.subject].append(each.sequence)
    return dict(sequences)


async def test_events_of_a_subject_stay_in_order_and_in_their_shard(producer: Producer) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        for sequence in range(5):
            await producer.add(*(event(sequence, subject) for subject in SUBJECTS))
        await inbox.until(500)
        await producer.rest()
    assert by_subject(inbox) == {subject: [0, 1, 2, 3, 4] for subject in SUBJECTS}
    for request in inbox.requests:
        assert {shard_of(item.event.subject) for item in request.items} <= {request.shard}
    assert len(inbox.marks) == SHARDS
    assert await producer.waiting() == 0


async def test_batches_of_shards_are_under_way_side_by_side(producer: Producer) -> None:
    inbox = Inbox()
    arrived, go_on = set[int](), asyncio.Event()

    async def wait(request: PublishRequest) -> None:
        if request.items:
            arrived.add(request.shard)
            if len(arrived) == SHARDS:
                go_on.set()
            await go_on.wait()

    inbox.before = wait
    await producer.add(*(event(1, subject) for subject in SUBJECTS))
    async with producer.relay(inbox):
        await inbox.until(100)


async def test_a_shard_that_is_not_taken_is_sent_again_alone(producer: Producer) -> None:
    inbox = Inbox()
    down = shard_of(SUBJECTS[0])

    async def fail(request: PublishRequest) -> None:
        if request.items and request.shard == down:
            raise Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "down")

    inbox.before = fail
    others = [subject for subject in SUBJECTS if shard_of(subject) != down]
    await producer.add(*(event(1, subject) for subject in SUBJECTS))
    async with producer.relay(inbox):
        await inbox.until(len(others))
        await producer.rest()
        assert by_subject(inbox) == {subject: [1] for subject in others}
        inbox.before = nothing
        producer.clock.advance(SECOND)
        await inbox.until(100)
        await producer.rest()
    assert by_subject(inbox) == {subject: [1] for subject in SUBJECTS}
    assert await producer.waiting() == 0


async def test_another_replica_takes_all_shards_over_with_their_batches(
    producer: Producer,
) -> None:
    inbox = Inbox()
    arrived = asyncio.Event()

    async def hang(request: PublishRequest) -> None:
        if request.items:
            arrived.set()
            await asyncio.Event().wait()

    # Half of the shards lose their answers, the others the events.
    async def lose(request: PublishRequest) -> None:
        if request.shard % 2:
            await hang(request)

    inbox.before, inbox.after = lose, hang
    await producer.add(*(event(1, subject) for subject in SUBJECTS))
    async with producer.relay(inbox):
        await arrived.wait()
        await inbox.until(sum(not shard_of(subject) % 2 for subject in SUBJECTS))
        await producer.add(*(event(2, subject) for subject in SUBJECTS))
    inbox.before = inbox.after = nothing
    async with producer.relay(inbox, owner="two"):
        await inbox.until(200)
        await producer.rest()
    assert by_subject(inbox) == {subject: [1, 2] for subject in SUBJECTS}
    assert await producer.waiting() == 0


async def test_a_lease_is_held_against_replicas_that_know_one_shard_only(
    producer: Producer,
) -> None:
    inbox = Inbox()
    async with producer.relay(inbox):
        await producer.add(event(1))
        await inbox.until(1)
        async with producer.database.reading() as connection:
            names = (await connection.execute(text("SELECT name FROM lease"))).scalars().all()
    assert names == ["outbox/webhooks/0"]


async def test_rows_of_the_time_before_shards_go_first(producer: Producer) -> None:
    inbox = Inbox()
    # A batch of the old kind is under way, and a row of that kind waits behind it.
    old = [event(sequence, subject) for sequence in (1, 2) for subject in SUBJECTS]
    await producer.add(*old)
    async with producer.database.transaction() as connection:
        await connection.execute(text("UPDATE outbox SET shard = 0"))
        ids = (await connection.execute(text("SELECT id FROM outbox ORDER BY id"))).scalars().all()
        await connection.execute(
            OUTBOX_SHARD.insert().values(
                destination="webhooks", shard=0, generation="old", position=150, batch=ids[:100]
            )
        )
    inbox.marks["workflow", "old", 0] = 70
    await producer.add(*(event(3, subject) for subject in SUBJECTS))
    async with producer.relay(inbox):
        # The receiver had the first twenty of that batch.
        await inbox.until(280)
        await producer.rest()
        # A replica of the old kind may still write.
        await producer.add(event(4, SUBJECTS[0]))
        await inbox.until(281)
        async with producer.database.transaction() as connection:
            await producer.outbox.add(connection, [event(5, SUBJECTS[0])])
            newest = "(SELECT max(id) FROM outbox)"
            await connection.execute(text(f"UPDATE outbox SET shard = 0 WHERE id = {newest}"))
            await producer.outbox.add(connection, [event(6, SUBJECTS[0])])
        producer.outbox.wake()
        await inbox.until(283)
        await producer.rest()
    sequences = by_subject(inbox)
    assert sequences[SUBJECTS[0]] == [2, 3, 4, 5, 6]
    assert [sequences[subject] for subject in SUBJECTS[20:]] == [[1, 2, 3]] * 80
    assert [sequences[subject] for subject in SUBJECTS[1:20]] == [[2, 3]] * 19
    assert await producer.waiting() == 0
    async with producer.database.reading() as connection:
        zero = select(OUTBOX_SHARD.c.position).where(OUTBOX_SHARD.c.shard == 0)
        assert (await connection.execute(zero)).scalar_one() == 251


@pytest.mark.parametrize("busy", [True, False])
async def test_calls_of_many_shards_are_paused_for_longer(producer: Producer, busy: bool) -> None:
    inbox = Inbox()
    async with producer.relay(inbox, gathering=SECOND / 10):
        await producer.rest()
        await producer.add(*(event(1, subject) for subject in SUBJECTS))
        await inbox.until(100)
        await producer.rest()
        async with producer.database.transaction() as connection:
            await producer.outbox.add(connection, [event(2, SUBJECTS[0])])
        if busy:
            producer.outbox.wake()
        producer.clock.advance(SECOND / 10)
        await producer.rest()
        assert len(inbox.effects) == 100
        # What was is no more: no news after some, or some after none.
        if not busy:
            producer.outbox.wake()
        for _ in range(2):
            await producer.rest()
            producer.clock.advance(SECOND / 40)
        await inbox.until(101)
