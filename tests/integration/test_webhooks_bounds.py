"""Endpoints get no more than their webhooks allow, and those that fail are tried one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from brikk_webhooks.domain.health import MOST_FAILURES
from brikk_webhooks.store.lanes import Lane
from support.webhook_queue import DELIVERED, EXPIRED, QueueStore, retry
from support.webhooks import store

AT_ONCE = timedelta()


@pytest.fixture
async def webhook_store(database_url: str) -> AsyncIterator[QueueStore]:
    async with store(database_url) as database:
        yield QueueStore(database)


async def execute(webhook_store: QueueStore, statement: str) -> None:
    async with webhook_store.database.transaction() as connection:
        await connection.execute(text(statement))


async def broken(webhook_store: QueueStore, count: int) -> str:
    """A webhook with so many deliveries due in the second lane, and a breaker that has opened."""
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(count)
    await webhook_store.finish(await webhook_store.claim(uid), retry(AT_ONCE))
    return uid


async def test_no_more_are_under_way_than_a_webhook_allows(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", max_in_flight=3)
    free = await webhook_store.add_webhook("free")
    await webhook_store.publish(20)
    rivals = await asyncio.gather(*(webhook_store.claim(uid, free, most=2) for _ in range(6)))
    claims = [claim for each in rivals for claim in each if claim.webhook_uid == uid]
    assert len(claims) == 3
    assert sum(map(len, rivals)) == 3 + 12
    await webhook_store.finish(claims[:1], retry(AT_ONCE))
    # Both lanes count.
    [again] = await webhook_store.claim(uid, lane=Lane.RETRY)
    assert again.delivery_id == claims[0].delivery_id
    assert again.awaited
    assert await webhook_store.claim(uid) == []
    await webhook_store.finish([again, claims[1]], DELIVERED)
    assert len(await webhook_store.claim(uid)) == 2


async def test_leases_that_ran_out_take_no_room(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", max_in_flight=1)
    await webhook_store.publish(1)
    [stale] = await webhook_store.claim(uid, lease=EXPIRED)
    [fresh] = await webhook_store.claim(uid)
    assert stale.delivery_id == fresh.delivery_id


async def test_a_rate_holds_for_all_who_claim(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook", max_rate=1)
    await webhook_store.publish(20)
    rivals = await asyncio.gather(*(webhook_store.claim(uid, most=6) for _ in range(4)))
    assert sum(map(len, rivals)) == 1
    assert timedelta() < (await webhook_store.waiting())[uid] <= timedelta(minutes=1)
    await execute(webhook_store, "UPDATE endpoint SET paced_until = paced_until - 60000000")
    assert len(await webhook_store.claim(uid)) == 1


async def test_an_endpoint_that_fails_is_probed_by_one_at_a_time(
    webhook_store: QueueStore,
) -> None:
    uid = await broken(webhook_store, MOST_FAILURES)
    assert await webhook_store.claim(uid, lane=Lane.RETRY) == []
    assert timedelta() < (await webhook_store.waiting(Lane.RETRY))[uid] <= timedelta(seconds=1)
    await execute(webhook_store, "UPDATE endpoint SET paused_until = failed_at")
    rivals = await asyncio.gather(*(webhook_store.claim(uid, lane=Lane.RETRY) for _ in range(4)))
    [probe] = [claim for each in rivals for claim in each]
    assert probe.probe
    await webhook_store.finish([probe], retry(AT_ONCE))
    assert await webhook_store.claim(uid, lane=Lane.RETRY) == []
    await execute(webhook_store, "UPDATE endpoint SET paused_until = failed_at")
    [probe] = await webhook_store.claim(uid, lane=Lane.RETRY)
    await webhook_store.finish([probe], DELIVERED)
    rest = await webhook_store.claim(uid, lane=Lane.RETRY)
    assert len(rest) == MOST_FAILURES - 1
    assert not any(claim.probe for claim in rest)


async def test_a_probe_whose_worker_died_is_made_again(webhook_store: QueueStore) -> None:
    uid = await broken(webhook_store, MOST_FAILURES)
    await execute(webhook_store, "UPDATE endpoint SET paused_until = failed_at")
    assert len(await webhook_store.claim(uid, lane=Lane.RETRY, lease=EXPIRED)) == 1
    assert len(await webhook_store.claim(uid, lane=Lane.RETRY)) == 1


async def test_a_webhook_that_was_changed_is_tried_anew(webhook_store: QueueStore) -> None:
    uid = await broken(webhook_store, MOST_FAILURES)
    await execute(
        webhook_store,
        "UPDATE webhook SET update_time = (SELECT max(failed_at) FROM endpoint) + 1",
    )
    assert (await webhook_store.waiting(Lane.RETRY))[uid] <= timedelta()
    assert len(await webhook_store.claim(uid, lane=Lane.RETRY)) == MOST_FAILURES
