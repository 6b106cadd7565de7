"""The queue in the database: claims are fair, exclusive, fenced, and end when their holder dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from brikk_shared.migrations import compare
from brikk_webhooks.domain.signing import Scheme
from brikk_webhooks.store.deliveries import list_attempts, list_deliveries
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.retention import Retention
from brikk_webhooks.store.tables import METADATA
from brikk_webhooks.store.webhooks import delete_webhook
from support.webhook_queue import DELIVERED, EXPIRED, FAILED, LEASE, QueueStore, report, retry
from support.webhooks import store


@pytest.fixture
async def webhook_store(database_url: str) -> AsyncIterator[QueueStore]:
    async with store(database_url) as database:
        yield QueueStore(database)


async def test_the_migrations_make_the_tables(webhook_store: QueueStore) -> None:
    async with webhook_store.database.reading() as connection:
        assert await compare(connection, METADATA) == []


async def test_an_empty_queue_has_nothing(webhook_store: QueueStore) -> None:
    assert await webhook_store.waiting() == {}
    assert await webhook_store.claim("nobody") == []
    depth = await webhook_store.queue.depth()
    assert (depth.pending, depth.overdue) == (0, timedelta())


async def test_a_claim_carries_all_that_an_attempt_needs(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(1)
    [claim] = await webhook_store.claim(uid)
    assert claim.attempt == 1
    assert b'"executions/x1"' in claim.body
    assert claim.target.url == "http://127.0.0.1/"
    [key] = claim.target.keys
    assert (key.scheme, key.sealed) == (Scheme.V1, b"\x01\x02k1sealed")
    assert claim.target.retry_schedule == (timedelta(milliseconds=1500),)
    assert abs(datetime.now(UTC) - claim.create_time) < timedelta(minutes=1)
    place = key.place
    assert (place.organization, place.id, place.version) == ("acme", "hook", 1)


async def test_endpoints_wait_by_the_age_of_their_oldest(webhook_store: QueueStore) -> None:
    first = await webhook_store.add_webhook("first", "first")
    second = await webhook_store.add_webhook("second", "second")
    await webhook_store.publish(2, event_type="second")
    await webhook_store.publish(2, event_type="first")
    waiting = await webhook_store.waiting()
    assert list(waiting) == [second, first]
    assert all(due_in <= timedelta() for due_in in waiting.values())


async def test_each_endpoint_gives_up_to_its_share_oldest_first(webhook_store: QueueStore) -> None:
    uids = [await webhook_store.add_webhook(f"hook-{number}") for number in range(3)]
    for _ in range(4):
        await webhook_store.publish(1)
    shares = {uids[0]: 1, uids[1]: 3}
    claims = await webhook_store.claim_shares(shares)
    assert Counter(claim.webhook_uid for claim in claims) == shares
    async with webhook_store.database.reading() as connection:
        listed = await list_deliveries(
            connection, "acme", "hook-1", state=None, before="", limit=10
        )
    oldest = sorted(delivery.id for delivery in listed)[:3]
    assert sorted(claim.delivery_id for claim in claims if claim.webhook_uid == uids[1]) == oldest


async def test_what_is_claimed_is_claimed_once(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(60)
    rivals = await asyncio.gather(*(webhook_store.claim(uid, most=20) for _ in range(6)))
    claimed = [claim.delivery_id for claims in rivals for claim in claims]
    assert len(claimed) == len(set(claimed))
    claimed += [claim.delivery_id for claim in await webhook_store.claim(uid)]
    assert len(set(claimed)) == 60


async def test_a_claim_comes_due_again_when_its_lease_ran_out(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(1)
    [stale] = await webhook_store.claim(uid, lease=EXPIRED)
    [fresh] = await webhook_store.claim(uid)
    assert stale.delivery_id == fresh.delivery_id
    assert stale.attempt == fresh.attempt == 1
    assert await webhook_store.claim(uid) == []


async def test_a_stale_worker_cannot_end_what_another_has_claimed(
    webhook_store: QueueStore,
) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(2)
    stale = await webhook_store.claim(uid, lease=EXPIRED)
    fresh = await webhook_store.claim(uid, most=1)
    [mine, lost] = sorted(stale, key=lambda claim: claim.delivery_id != fresh[0].delivery_id)[::-1]
    assert await webhook_store.finish([mine, lost], FAILED) == [True, False]
    assert await webhook_store.finish(fresh, DELIVERED) == [True]
    assert await webhook_store.finish(fresh, DELIVERED) == [False]
    async with webhook_store.database.reading() as connection:
        attempts = await list_attempts(
            connection, "acme", "hook", lost.delivery_id, after=0, limit=9
        )
    assert [(attempt.number, attempt.error) for attempt in attempts] == [(1, "")]


async def test_a_stale_worker_cannot_give_back_what_another_has_claimed(
    webhook_store: QueueStore,
) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(1)
    stale = await webhook_store.claim(uid, lease=EXPIRED)
    fresh = await webhook_store.claim(uid)
    await webhook_store.queue.release(stale)
    assert await webhook_store.claim(uid) == []
    await webhook_store.queue.release(fresh)
    assert len(await webhook_store.claim(uid)) == 1


async def test_retries_wait_in_a_lane_of_their_own(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(2)
    later, now = await webhook_store.claim(uid)
    await webhook_store.finish([later], retry(timedelta(hours=1)))
    assert await webhook_store.waiting() == {uid: pytest.approx(LEASE, abs=LEASE)}
    assert timedelta(minutes=59) < (await webhook_store.waiting(Lane.RETRY))[uid]
    await webhook_store.finish([now], retry(timedelta(0)))
    assert await webhook_store.waiting() == {}
    [claim] = await webhook_store.claim(uid, lane=Lane.RETRY)
    assert (claim.delivery_id, claim.attempt) == (now.delivery_id, 2)
    assert await webhook_store.claim(uid) == []


async def remove_left(webhook_store: QueueStore) -> None:
    """Removes what deleted webhooks have left."""
    forever = timedelta(days=9999)
    retention = Retention(webhook_store.database, payloads=forever, deliveries=forever)
    while await retention.remove_left():
        pass


async def test_a_deleted_webhook_takes_its_deliveries_along(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    kept = await webhook_store.add_webhook("kept")
    await webhook_store.publish(3)
    claims = await webhook_store.claim(uid, most=2)
    async with webhook_store.database.transaction() as connection:
        assert await delete_webhook(connection, "acme", "hook")
        assert not await delete_webhook(connection, "acme", "hook")
        assert not await delete_webhook(connection, "other", "kept")
    assert await webhook_store.claim(uid) == []
    await remove_left(webhook_store)
    assert await webhook_store.finish(claims, DELIVERED) == [False, False]
    assert list(await webhook_store.waiting()) == [kept]
    # Made anew under its id it is another webhook.
    await webhook_store.add_webhook("hook")
    async with webhook_store.database.reading() as connection:
        assert not await list_deliveries(
            connection, "acme", "hook", state=None, before="", limit=10
        )


async def test_deliveries_are_not_added_to_a_webhook_that_is_being_deleted(
    webhook_store: QueueStore,
) -> None:
    for round_number in range(10):
        await webhook_store.add_webhook("hook")

        async def delete() -> None:
            async with webhook_store.database.transaction() as connection:
                assert await delete_webhook(connection, "acme", "hook")

        publications = [webhook_store.publish(5) for _ in range(3)]
        await asyncio.gather(
            *publications[: round_number % 4], delete(), *publications[round_number % 4 :]
        )
        await remove_left(webhook_store)
        assert (await webhook_store.queue.depth()).pending == 0


async def test_the_depth_counts_both_lanes_and_says_how_late_it_is(
    webhook_store: QueueStore,
) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(3)
    [first, second] = await webhook_store.claim(uid, most=2)
    await webhook_store.finish([first], retry(timedelta(hours=1)))
    await webhook_store.finish([second], DELIVERED)
    depth = await webhook_store.queue.depth()
    assert depth.pending == 2
    assert timedelta() <= depth.overdue < timedelta(minutes=1)


async def test_only_where_one_process_has_the_store_claims_are_recovered_at_once(
    webhook_store: QueueStore,
) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(2)
    claims = await webhook_store.claim(uid)
    await webhook_store.finish(claims[:1], retry(timedelta(0)))
    await webhook_store.claim(uid, lane=Lane.RETRY)
    await webhook_store.queue.recover()
    recovered = 2 if webhook_store.database.dialect == "sqlite" else 0
    again = [*await webhook_store.claim(uid), *await webhook_store.claim(uid, lane=Lane.RETRY)]
    assert len(again) == recovered


async def test_each_attempt_that_counts_is_announced(webhook_store: QueueStore) -> None:
    uid = await webhook_store.add_webhook("hook")
    await webhook_store.publish(3)
    ends = (DELIVERED, retry(timedelta(hours=1)), FAILED)
    claims = await webhook_store.claim(uid)
    reports = [report(*each) for each in zip(claims, ends, strict=True)]
    assert await webhook_store.log(reports) == [True] * 3
    assert await webhook_store.finish(claims, DELIVERED) == [False] * 3

    events = await webhook_store.announced()
    assert {event.type.split(".")[2]: event.data["duration_ms"] for event in events} == {
        "succeeded": 20,
        "retrying": 20,
        "failed": 20,
    }
    assert {(event.organization, event.sequence) for event in events} == {("acme", 1)}
    assert {event.subject for event in events} == {
        f"webhooks/hook/deliveries/{claim.delivery_id}" for claim in claims
    }
