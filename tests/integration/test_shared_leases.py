"""Leases: one holder at a time, fenced off when it stood still, gone at once when it lets go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from brikk_shared.clock import StoreClock
from brikk_shared.database import Database
from brikk_shared.leases import Lease, LeaseLost, Leases
from brikk_shared.testing import ManualClock
from support.running import running

HOUR = timedelta(hours=1)
ENDED = timedelta(0)


def leases(database: Database, owner: str, clock: ManualClock | None = None) -> Leases:
    return Leases(database, owner, clock or ManualClock())


async def expire(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE lease SET expires_at = 0"))


async def assert_held(database: Database, holder: Leases, lease: Lease) -> None:
    async with database.transaction() as connection:
        await holder.assert_held(connection, lease)


class Work:
    """Work that goes on until it is cancelled, and tells when it begins and ends."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, lease: Lease) -> None:
        self.epochs.append(lease.epoch)
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_one_of_many_gets_it(database: Database) -> None:
    trials = [leases(database, str(number)).acquire("a", HOUR) for number in range(8)]
    taken = [lease for lease in await asyncio.gather(*trials) if lease is not None]
    assert [lease.epoch for lease in taken] == [1]
    assert await leases(database, "x").acquire("b", HOUR) is not None


async def test_the_time_of_the_store_is_heard_with_each_answer(database: Database) -> None:
    machine = ManualClock()
    clock = StoreClock(machine)
    mine = Leases(database, "me", machine, store_clock=clock)

    def hears() -> bool:
        right = abs(clock.now() - datetime.now(UTC)) < HOUR
        clock.hear(machine.now(), asked=clock.monotonic())
        return right

    assert not hears()
    await mine.ask_time()
    assert hears()
    lease = await mine.acquire("a", HOUR)
    assert lease is not None
    assert hears()
    assert await mine.renew(lease, HOUR)
    assert hears()


async def test_its_holder_cannot_take_it_twice(database: Database) -> None:
    mine = leases(database, "me")
    assert await mine.acquire("a", HOUR) is not None
    assert await mine.acquire("a", HOUR) is None


async def test_an_ended_lease_goes_to_another_with_a_higher_epoch(database: Database) -> None:
    one, other = leases(database, "one"), leases(database, "other")
    first = await one.acquire("a", ENDED)
    second = await other.acquire("a", HOUR)
    assert first is not None
    assert second is not None
    assert second.epoch == first.epoch + 1
    assert not await one.renew(first, HOUR)
    await one.release(first)
    with pytest.raises(LeaseLost):
        await assert_held(database, one, first)
    await assert_held(database, other, second)


async def test_an_ended_lease_that_nobody_took_may_be_renewed(database: Database) -> None:
    mine = leases(database, "me")
    lease = await mine.acquire("a", ENDED)
    assert lease is not None
    await assert_held(database, mine, lease)
    assert await mine.renew(lease, HOUR)
    assert await leases(database, "other").acquire("a", HOUR) is None


async def test_a_released_lease_is_free_at_once(database: Database) -> None:
    mine = leases(database, "me")
    lease = await mine.acquire("a", HOUR)
    assert lease is not None
    await mine.release(lease)
    assert await leases(database, "other").acquire("a", HOUR) is not None


async def test_nobody_takes_over_while_a_fenced_transaction_is_open(postgres_url: str) -> None:
    async with Database(postgres_url, migrations=None) as database:
        mine, other = leases(database, "me"), leases(database, "other")
        lease = await mine.acquire("a", ENDED)
        assert lease is not None
        async with database.transaction() as connection:
            await mine.assert_held(connection, lease)
            takeover = asyncio.create_task(other.acquire("a", HOUR))
            waiting = text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            while not (await connection.execute(waiting)).scalar_one():
                assert not takeover.done()
                await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        taken = await takeover
        assert taken is not None
        assert taken.epoch == 2


async def test_leases_of_a_killed_process_are_free_when_its_file_is(sqlite_url: str) -> None:
    for epoch in (1, 2):
        async with Database(sqlite_url, migrations=None) as database:
            lease = await leases(database, str(epoch)).acquire("a", HOUR)
            assert lease is not None
            assert lease.epoch == epoch


async def test_rows_of_names_that_come_no_more_are_forgotten(database: Database) -> None:
    for name in ("process-1", "process-2"):
        assert await leases(database, name).acquire(name, ENDED) is not None
    await expire(database)
    assert await leases(database, "process-3").acquire("process-3", HOUR) is not None
    async with database.reading() as connection:
        names = (await connection.execute(text("SELECT name FROM lease"))).scalars().all()
    assert names == ["process-3"]


async def test_leases_that_ended_long_ago_are_taken_side_by_side(database: Database) -> None:
    """As after a day without the service: each forgets old rows, and none waits for another's."""
    names = [f"shard {number}" for number in range(8)]
    for _ in range(3):
        trials = [leases(database, name).acquire(name, HOUR) for name in names]
        assert None not in await asyncio.gather(*trials)
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE lease SET expires_at = 0"))


async def test_work_that_is_done_releases_it(database: Database) -> None:
    done: list[Lease] = []

    async def work(lease: Lease) -> None:
        done.append(lease)

    mine = leases(database, "me")
    for _ in range(2):
        await mine.hold("a", HOUR, work)
    assert [lease.epoch for lease in done] == [1, 2]


async def test_work_that_fails_releases_it_and_is_heard_of(database: Database) -> None:
    async def work(_: Lease) -> None:
        raise LookupError

    mine = leases(database, "me")
    with pytest.raises(LookupError):
        await mine.hold("a", HOUR, work)
    assert await leases(database, "other").acquire("a", HOUR) is not None


async def test_cancelled_work_releases_it(database: Database) -> None:
    work = Work()
    async with running(lambda: leases(database, "me").hold("a", HOUR, work)):
        await work.began.wait()
        assert await leases(database, "other").acquire("a", HOUR) is None
    assert work.ended.is_set()
    assert await leases(database, "other").acquire("a", HOUR) is not None


async def test_work_ends_before_its_lease_when_its_holder_is_stopped_as_it_is_lost(
    database: Database,
) -> None:
    clock, other = ManualClock(), leases(database, "other")
    began, unwinding, stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
    taken: list[Lease | None] = []

    async def work(_: Lease) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            unwinding.set()
            await stopped.wait()
            taken.extend([await other.acquire("a", HOUR) for _ in range(3)])

    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await began.wait()
        clock.advance(HOUR)
        await unwinding.wait()
        asyncio.get_running_loop().call_soon(stopped.set)
    assert taken == [None, None, None]
    assert await other.acquire("a", HOUR) is not None


async def test_who_waits_gets_it_soon_after_it_is_free(database: Database) -> None:
    clock, work = ManualClock(), Work()
    other = leases(database, "other")
    theirs = await other.acquire("a", HOUR)
    assert theirs is not None
    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await clock.sleeping()
        await other.release(theirs)
        clock.advance(HOUR / 5)
        await work.began.wait()
    assert work.epochs == [2]


async def test_a_renewed_lease_outlasts_its_duration(database: Database) -> None:
    clock, work = ManualClock(), Work()
    read = text("SELECT expires_at FROM lease")
    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await work.began.wait()
        ends = []
        for _ in range(6):
            await clock.sleeping(2)
            clock.advance(HOUR / 3)
            # Both guards sleep again: the renewal is through.
            await clock.sleeping(2)
            async with database.reading() as connection:
                ends.append((await connection.execute(read)).scalar_one())
        assert not work.ended.is_set()
    assert ends == sorted(ends)
    assert work.epochs == [1]


async def test_work_stops_when_the_lease_went_to_another(database: Database) -> None:
    clock, work = ManualClock(), Work()
    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await work.began.wait()
        await expire(database)
        other = leases(database, "other")
        theirs = await other.acquire("a", HOUR)
        assert theirs is not None
        await clock.sleeping(2)
        clock.advance(HOUR / 3)
        await work.ended.wait()
        # And it waits for its next turn.
        work.began.clear()
        await other.release(theirs)
        await clock.sleeping()
        clock.advance(HOUR / 5)
        await work.began.wait()
    assert work.epochs == [1, 3]


async def test_work_that_finds_itself_fenced_waits_for_its_next_turn(database: Database) -> None:
    clock = ManualClock()
    mine = leases(database, "me", clock)
    epochs: list[int] = []

    async def work(lease: Lease) -> None:
        epochs.append(lease.epoch)
        if lease.epoch == 1:
            await expire(database)
            theirs = await leases(database, "other").acquire("a", ENDED)
            assert theirs is not None
        await assert_held(database, mine, lease)

    await mine.hold("a", HOUR, work)
    assert epochs == [1, 3]


async def test_work_stops_before_the_lease_ends_when_the_store_hangs(database: Database) -> None:
    clock, work = ManualClock(), Work()
    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await work.began.wait()
        async with database.transaction() as connection:
            # Renewals wait for this transaction: on SQLite for the writer, else for the row.
            await connection.execute(text("UPDATE lease SET owner = owner"))
            await clock.sleeping(2)
            clock.advance(HOUR / 3)
            assert not work.ended.is_set()
            clock.advance(HOUR * 2 / 3)
            await work.ended.wait()


async def test_a_renewed_lease_counts_from_before_the_renewal_was_sent(database: Database) -> None:
    clock, work = ManualClock(), Work()
    hold_row = text("UPDATE lease SET owner = owner")
    async with running(lambda: leases(database, "me", clock).hold("a", HOUR, work)):
        await work.began.wait()
        async with database.transaction() as connection:
            await connection.execute(hold_row)
            await clock.sleeping(2)
            clock.advance(HOUR / 3)
            # The renewal is sent, and answered when half an hour has passed.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            clock.advance(HOUR / 2)
        await clock.sleeping(2)
        async with database.transaction() as connection:
            await connection.execute(hold_row)
            clock.advance(HOUR / 3)
            await clock.sleeping()
            assert not work.ended.is_set()
            # An hour since the renewal was sent; since its answer it is half an hour less.
            clock.advance(HOUR / 6)
            await work.ended.wait()
