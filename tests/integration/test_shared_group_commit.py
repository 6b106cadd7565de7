"""Group commit: each item once, in order per key, with an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.audit import AuditEntry
from brikk_shared.batch import batch_params, batch_source
from brikk_shared.call import Call, enter_call
from brikk_shared.database import Database
from brikk_shared.errors import Aborted, BrikkError, Reason, Unavailable
from brikk_shared.group_commit import GroupCommit, in_transaction
from brikk_shared.identity import Identity
from support.running import running

COLUMNS = {"number": "bigint", "keys": "text"}


class Poisoned(Exception):
    """What writing a poisoned item raises."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An item: its keys, and what becomes of it."""

    number: int
    keys: frozenset[str] = frozenset()
    refused: bool = False
    poisoned: bool = False


@dataclass
class Ledger:
    """Writes entries into a table, in batches, and remembers the batches."""

    database: Database
    batches: list[Sequence[Entry]] = field(default_factory=list)

    async def write(
        self, connection: AsyncConnection, entries: Sequence[Entry]
    ) -> Sequence[int | BrikkError]:
        self.batches.append(entries)
        if any(entry.poisoned for entry in entries):
            raise Poisoned
        rows = [
            {"number": entry.number, "keys": " ".join(sorted(entry.keys))}
            for entry in entries
            if not entry.refused
        ]
        source = batch_source(self.database.dialect, COLUMNS)
        await connection.execute(
            text(f"INSERT INTO ledger (number, keys) SELECT number, keys FROM {source}"),
            batch_params(self.database.dialect, COLUMNS, rows),
        )
        return [_refusal() if entry.refused else entry.number * 10 for entry in entries]

    def group(self, max_batch: int = 256) -> GroupCommit[Entry, int]:
        commit = in_transaction(self.database, self.write)
        return GroupCommit(commit, keys=lambda entry: entry.keys, max_batch=max_batch)

    async def written(self) -> list[int]:
        """Numbers of the entries that were committed, in order."""
        async with self.database.reading() as connection:
            rows = await connection.execute(text("SELECT number FROM ledger ORDER BY place"))
            return list(rows.scalars())

    async def clear(self) -> None:
        self.batches.clear()
        async with self.database.transaction() as connection:
            await connection.execute(text("DELETE FROM ledger"))
            await connection.execute(text("DELETE FROM audit_entry"))


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    place = "INTEGER" if database.dialect == "sqlite" else "BIGINT GENERATED ALWAYS AS IDENTITY"
    async with database.transaction() as connection:
        await connection.execute(
            text(f"CREATE TABLE ledger (place {place} PRIMARY KEY, number BIGINT, keys TEXT)")
        )
    yield Ledger(database)


ENTRIES = st.lists(
    st.tuples(
        st.frozensets(st.sampled_from("abcdef"), max_size=3),
        st.sampled_from(["good", "good", "good", "refused", "poisoned"]),
        st.booleans(),  # whether the caller gives up
        st.integers(0, 3),  # how long after the one before it comes, in turns of the loop
    ),
    max_size=30,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=ENTRIES, max_batch=st.integers(1, 8))
async def test_each_item_has_its_own_fate(
    ledger: Ledger, plan: list[tuple[frozenset[str], str, bool, int]], max_batch: int
) -> None:
    await ledger.clear()
    group = ledger.group(max_batch)
    calls: list[asyncio.Task[int]] = []
    entries: list[Entry] = []
    async with running(group.run):
        for number, (keys, fate, impatient, turns) in enumerate(plan):
            for _ in range(turns):
                await asyncio.sleep(0)
            entry = Entry(
                number=number, keys=keys, refused=fate == "refused", poisoned=fate == "poisoned"
            )
            entries.append(entry)
            call = asyncio.create_task(_submit(group, entry))
            calls.append(call)
            await asyncio.sleep(0)
            if impatient:
                call.cancel()
        # When these two are in, so is all that came before them.
        await group.submit(Entry(number=-1, keys=frozenset("abcdef")))
        await group.submit(Entry(number=-2))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)

    good = [entry.number for entry in entries if not entry.refused and not entry.poisoned]
    written = await ledger.written()
    assert sorted(written) == [-2, -1, *good]
    for key in "abcdef":
        of_key = [entry.number for entry in entries if key in entry.keys and entry.number in good]
        assert [n for n in written if n in of_key] == of_key
    for batch in ledger.batches:
        assert len(batch) <= max_batch
        assert sum(len(entry.keys) for entry in batch) == len(
            frozenset().union(*(entry.keys for entry in batch))
        )
    for entry, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, asyncio.CancelledError):
            assert plan[entry.number][2]
        elif entry.poisoned:
            assert isinstance(outcome, Poisoned)
        elif entry.refused:
            assert isinstance(outcome, Aborted)
        else:
            assert outcome == entry.number * 10
    async with ledger.database.reading() as connection:
        actors = await connection.execute(text("SELECT actor FROM audit_entry"))
        assert sorted(map(int, actors.scalars())) == good


async def test_what_queues_meanwhile_is_the_next_batch(ledger: Ledger) -> None:
    group = ledger.group()
    async with running(group.run), asyncio.TaskGroup() as callers:
        for number in range(100):
            callers.create_task(group.submit(Entry(number=number, keys=frozenset({str(number)}))))
    assert len(ledger.batches) <= 2
    assert sorted(await ledger.written()) == list(range(100))


async def test_items_wait_for_the_loop(ledger: Ledger) -> None:
    group = ledger.group()
    early = asyncio.create_task(group.submit(Entry(number=1)))
    await asyncio.sleep(0)
    async with running(group.run):
        assert await early == 10


async def test_a_batch_is_sorted_by_its_keys(ledger: Ledger) -> None:
    group = ledger.group()
    callers = [
        asyncio.create_task(group.submit(Entry(number=number, keys=frozenset(keys))))
        for number, keys in enumerate(("c", "ba", "d"))
    ]
    await asyncio.sleep(0)
    async with running(group.run):
        await asyncio.gather(*callers)
    assert [entry.number for entry in ledger.batches[0]] == [1, 0, 2]


async def test_the_entry_of_each_call_is_kept_with_its_item(ledger: Ledger) -> None:
    group = ledger.group()
    async with running(group.run):
        good, refused = _audit("1"), _audit("2")
        assert await _audited(group, Entry(number=1), good) == 10
        with pytest.raises(Aborted):
            await _audited(group, Entry(number=2, refused=True), refused)
    assert (good.recorded, refused.recorded) == (True, False)


async def test_at_the_end_everything_queued_has_an_answer(ledger: Ledger) -> None:
    group = ledger.group(max_batch=2)
    callers = [
        asyncio.create_task(group.submit(Entry(number=number, keys=frozenset({str(number)}))))
        for number in range(20)
    ]
    run = asyncio.create_task(group.run())
    await callers[0]
    run.cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert run.cancelled() or await asyncio.wait({run})
    kept = [number for number, outcome in enumerate(outcomes) if outcome == number * 10]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert sorted(await ledger.written()) == kept
    assert len(kept) + len(failed) == 20
    assert {error.reason for error in failed} == {Reason.SHUTTING_DOWN}
    with pytest.raises(Unavailable):
        await group.submit(Entry(number=99))


async def test_it_can_be_started_again(ledger: Ledger) -> None:
    group = ledger.group()
    for number in (1, 2):
        async with running(group.run):
            await asyncio.sleep(0)  # the loop begins
            assert await group.submit(Entry(number=number)) == number * 10


async def test_writing_with_a_missing_answer_is_a_defect_that_is_told(database: Database) -> None:
    async def write(_: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        return items[1:]

    group = GroupCommit[int, int](in_transaction(database, write), keys=lambda _: ())
    async with running(group.run):
        with pytest.raises(RuntimeError, match="1 items were written with 0 results"):
            await group.submit(1)


async def test_a_store_that_does_not_answer_is_asked_once_per_batch(postgres_url: str) -> None:
    batches: list[int] = []

    async def write(connection: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        batches.append(len(items))
        await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return items

    async with Database(postgres_url, migrations=None) as database:
        group = GroupCommit[int, int](in_transaction(database, write), keys=lambda _: ())
        callers = [asyncio.create_task(group.submit(number)) for number in range(8)]
        await asyncio.sleep(0)
        async with running(group.run):
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert batches == [8]
    assert {type(outcome) for outcome in outcomes} == {Unavailable}


async def test_an_item_that_loses_against_another_transaction_is_tried_again(
    postgres_url: str,
) -> None:
    attempts: list[int] = []

    async def write(connection: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        attempts.append(len(items))
        if len(attempts) < 3:
            await connection.execute(
                text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$")
            )
        return items

    async with Database(postgres_url, migrations=None) as database:
        group = GroupCommit[int, int](in_transaction(database, write), keys=lambda _: ())
        async with running(group.run):
            assert await group.submit(7) == 7
    assert attempts == [1, 1, 1]


async def test_a_value_that_the_store_refuses_fails_alone(postgres_url: str) -> None:
    async def write(connection: AsyncConnection, items: Sequence[str]) -> Sequence[str]:
        columns = {"name": "text"}
        await connection.execute(
            text(
                "INSERT INTO lease (name, owner, epoch, expires_at)"
                f" SELECT name, '', 1, 0 FROM {batch_source('postgresql', columns)}"
            ),
            batch_params("postgresql", columns, [{"name": item} for item in items]),
        )
        return items

    async with Database(postgres_url, migrations=None) as database:
        group = GroupCommit[str, str](in_transaction(database, write), keys=lambda item: (item,))
        callers = [asyncio.create_task(group.submit(name)) for name in ("a", "b\0", "c", "\ud800")]
        await asyncio.sleep(0)
        async with running(group.run):
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [isinstance(outcome, str) for outcome in outcomes] == [True, False, True, False]


async def _submit(group: GroupCommit[Entry, int], entry: Entry) -> int:
    return await _audited(group, entry, _audit(str(entry.number)))


async def _audited(group: GroupCommit[Entry, int], entry: Entry, audit: AuditEntry) -> int:
    identity = Identity(subject=audit.actor, organization="a", scopes=frozenset(), internal=False)
    enter_call(Call(method=audit.method, identity=identity, request_id="r", audit=audit))
    try:
        return await group.submit(entry)
    finally:
        enter_call(None)


def _audit(actor: str) -> AuditEntry:
    return AuditEntry(
        organization="a",
        actor=actor,
        method="/x/Y",
        request_id="r",
        peer="",
        time=datetime.now(UTC),
        request_digest="",
    )


def _refusal() -> Aborted:
    return Aborted(Reason.ETAG_MISMATCH, "somebody was faster")
