"""Of deliveries with one ordering key, the next goes when the one before has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from brikk_webhooks.domain.dispatch import Claim
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.ordering import Ordering
from support.webhook_queue import DELIVERED, EXPIRED, FAILED, QueueStore, retry
from support.webhooks import store

AT_ONCE = timedelta()


@pytest.fixture
async def webhook_store(database_url: str) -> AsyncIterator[QueueStore]:
    async with store(database_url) as database:
        yield QueueStore(database)


async def deliver_all(webhook_store: QueueStore, uid: str) -> list[Claim]:
    """Claims and ends what is due until nothing is."""
    done = []
    while claims := await webhook_store.claim(uid):
        done += claims
        await webhook_store.finish(claims, DELIVERED)
    return done


async def test_one_at_a_time_for_each_key(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", ordering_key="subject")
    await webhook_store.publish(2, subject="executions/a")
    await webhook_store.publish(2, subject="executions/b")
    await webhook_store.publish(1, subject="executions/a")
    heads = await webhook_store.claim(uid)
    assert [claim.ordering_key for claim in heads] == ["executions/a", "executions/b"]
    assert await webhook_store.claim(uid) == []
    assert all(claim.awaited for claim in heads)
    # One that is to be tried again holds up the rest, one that is given up does not.
    await webhook_store.finish(heads[:1], retry(AT_ONCE))
    await webhook_store.finish(heads[1:], FAILED)
    [after_b] = await webhook_store.claim(uid)
    assert after_b.ordering_key == "executions/b"
    [again] = await webhook_store.claim(uid, lane=Lane.RETRY)
    await webhook_store.finish([again], DELIVERED)
    rest = await deliver_all(webhook_store, uid)
    ids = [claim.delivery_id for claim in (heads[0], *rest)]
    assert len(ids) == 3
    assert ids == sorted(ids)


async def test_a_stale_worker_lets_nothing_go(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", ordering_key="subject")
    await webhook_store.publish(2)
    stale = await webhook_store.claim(uid, lease=EXPIRED)
    await webhook_store.claim(uid)
    assert await webhook_store.finish(stale, DELIVERED) == [False]
    assert await webhook_store.claim(uid) == []


async def test_nothing_is_left_behind_when_some_arrive_while_others_end(
    webhook_store: QueueStore,
) -> None:
    uid = await webhook_store.add_webhook("hook", ordering_key="subject")
    await webhook_store.publish(1)
    done: list[Claim] = []
    for _ in range(15):
        claims = await webhook_store.claim(uid)
        assert len(claims) == 1
        done += claims
        await asyncio.gather(webhook_store.publish(1), webhook_store.finish(claims, DELIVERED))
    done += await deliver_all(webhook_store, uid)
    ids = [claim.delivery_id for claim in done]
    assert len(set(ids)) == len(ids) == 16
    assert ids == sorted(ids)
    assert (await webhook_store.queue.depth()).pending == 0


async def test_what_is_held_by_nothing_is_let_go(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", ordering_key="subject")
    await webhook_store.publish(3)
    async with webhook_store.database.transaction() as connection:
        await connection.execute(text("UPDATE delivery SET state = 4 WHERE due_at IS NOT NULL"))
    assert await webhook_store.claim(uid) == []
    ordering = Ordering(webhook_store.database)
    async with webhook_store.database.transaction() as connection:
        assert await ordering.mend(connection) == 1
        assert await ordering.mend(connection) == 0
    assert len(await deliver_all(webhook_store, uid)) == 2
