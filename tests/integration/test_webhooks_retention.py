"""What is no longer kept goes: bodies, deliveries, attempts and events; what is needed stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from brikk_webhooks.store.retention import Retention
from brikk_webhooks.store.tables import METADATA
from brikk_webhooks.store.webhooks import delete_webhook
from support.webhook_queue import DELIVERED, EVENT, FAILED, QueueStore
from support.webhooks import store

LATER = timedelta(days=40)
"""Between the retention of bodies and that of deliveries."""


@pytest.fixture
async def queue_store(database_url: str) -> AsyncIterator[QueueStore]:
    async with store(database_url) as database:
        yield QueueStore(database)


def retention(queue_store: QueueStore) -> Retention:
    return Retention(
        queue_store.database, payloads=timedelta(days=30), deliveries=timedelta(days=90)
    )


async def walk(queue_store: QueueStore) -> None:
    """Erases and removes all there is to erase and to remove."""
    keeping, now = retention(queue_store), datetime.now(UTC)
    for each in (keeping.erase_bodies, keeping.remove_old):
        after: str | None = ""
        while after is not None:
            after = await each(now, after=after)


async def age(queue_store: QueueStore, by: timedelta) -> None:
    """Lets all that is kept have come in so much earlier; ids begin with the time."""
    microseconds, milliseconds = by // timedelta(microseconds=1), by // timedelta(milliseconds=1)
    async with queue_store.database.transaction() as connection:
        await connection.execute(
            text("UPDATE delivery SET create_time = create_time - :age"), {"age": microseconds}
        )
        for [uid] in (await connection.execute(text("SELECT uid FROM event"))).all():
            older = f"b{int(uid[1:], 16) - (milliseconds << 80):031x}"
            for statement in (
                "UPDATE event SET uid = :older WHERE uid = :uid",
                "UPDATE delivery SET event_uid = :older WHERE event_uid = :uid",
            ):
                await connection.execute(text(statement), {"older": older, "uid": uid})


async def count(queue_store: QueueStore, table: str) -> int:
    async with queue_store.database.reading() as connection:
        rows: int = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()
    return rows


async def test_bodies_go_first_and_then_the_rows_but_nothing_that_is_pending(
    queue_store: QueueStore,
) -> None:
    uid = await queue_store.add_webhook("hook", EVENT.type)
    await queue_store.publish(3)
    await queue_store.finish(await queue_store.claim(uid, most=2), DELIVERED)
    await walk(queue_store)
    assert await count(queue_store, "event WHERE body IS NOT NULL") == 3
    await age(queue_store, LATER)
    await walk(queue_store)
    assert await count(queue_store, "event WHERE body IS NOT NULL") == 1
    assert await count(queue_store, "delivery") == 3
    await age(queue_store, 2 * LATER)
    await walk(queue_store)
    assert await count(queue_store, "event") == await count(queue_store, "delivery") == 1
    assert await count(queue_store, "attempt") == 0
    [claim] = await queue_store.claim(uid)
    assert claim.body


async def test_a_body_is_kept_for_the_webhook_that_keeps_it_longest(
    queue_store: QueueStore,
) -> None:
    for name in ("brief", "long"):
        uid = await queue_store.add_webhook(name, EVENT.type)
        days = 0 if name == "brief" else 300
        async with queue_store.database.transaction() as connection:
            await connection.execute(
                text("UPDATE webhook SET payload_retention = :kept WHERE uid = :uid"),
                {"kept": timedelta(days=days) // timedelta(microseconds=1), "uid": uid},
            )
    await queue_store.publish(1)
    async with queue_store.database.transaction() as connection:
        await connection.execute(text("UPDATE delivery SET state = 2"))
    await age(queue_store, LATER)
    await walk(queue_store)
    assert await count(queue_store, "event WHERE body IS NOT NULL") == 1
    async with queue_store.database.transaction() as connection:
        assert await delete_webhook(connection, "acme", "long")
    await walk(queue_store)
    assert await count(queue_store, "event WHERE body IS NOT NULL") == 0


async def test_tables_stay_flat_over_cycles(queue_store: QueueStore) -> None:
    uid = await queue_store.add_webhook("hook", EVENT.type, ordering_key="subject")
    sizes = []
    for cycle in range(4):
        for subject in range(20):
            await queue_store.publish(1, subject=f"executions/{cycle}-{subject}")
        claims = await queue_store.claim(uid)
        await queue_store.finish(claims[:3], FAILED)
        await queue_store.finish(claims[3:], DELIVERED)
        assert await count(queue_store, "attempt") == 20
        await age(queue_store, 3 * LATER)
        await walk(queue_store)
        sizes.append({name: await count(queue_store, name) for name in METADATA.tables})
    kept = {"webhook": 1, "signing_key": 1, "endpoint": 1}
    assert sizes == [dict.fromkeys(METADATA.tables, 0) | kept] * 4


async def test_what_a_deleted_webhook_has_left_goes_in_batches(queue_store: QueueStore) -> None:
    uid = await queue_store.add_webhook("hook", EVENT.type)
    await queue_store.publish(600)
    await queue_store.finish(await queue_store.claim(uid, most=3), DELIVERED)
    async with queue_store.database.transaction() as connection:
        assert await delete_webhook(connection, "acme", "hook")
    keeping = retention(queue_store)
    assert await count(queue_store, "delivery") == 600
    assert await keeping.remove_left()
    assert await count(queue_store, "delivery") == 100
    assert await keeping.remove_left()
    assert not await keeping.remove_left()
    for table in ("delivery", "attempt", "deleted_webhook"):
        assert await count(queue_store, table) == 0
