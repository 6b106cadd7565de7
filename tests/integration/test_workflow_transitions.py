"""Batches of transitions on both stores: what is taken, what goes with it, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text

from brikk.event.v1.event_pb2 import Event
from brikk_shared.audit import AuditEntry
from brikk_shared.chain import verify
from brikk_shared.database import Database
from brikk_shared.errors import Unavailable
from brikk_shared.event import check_event
from brikk_shared.group_commit import GroupCommit
from brikk_shared.outbox import Outbox
from brikk_shared.tables import AUDIT_ENTRY, OUTBOX
from brikk_workflow.domain.decision import Announcement, HistoryEntry
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus
from brikk_workflow.store.executions import get_execution, get_outputs, list_history
from brikk_workflow.store.history import export
from brikk_workflow.store.tables import EXECUTION, WORKFLOW
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import (
    NOT_APPLIED,
    SOURCE,
    Begin,
    Changes,
    Move,
    Write,
    Written,
    keys,
)
from support.running import running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STATE = ExecutionState(sequence=1, started_at=NOW, deadline=NOW + timedelta(days=1))


class Ledger:
    """A store with a writer, and what is asked of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.batches: list[int] = []
        self.applied: list[str] = []
        outbox = Outbox(database, source=SOURCE, destinations=["webhooks", "monitoring"])
        self.writer = TransitionWriter(database, outbox, observe=self._observe)

    def _observe(self, size: int, applied: Sequence[Changes]) -> None:
        self.batches.append(size)
        self.applied = [each.execution_id for each in applied]

    async def commit(self, *writes: Write, audit: Sequence[AuditEntry | None] = ()) -> list[bool]:
        written = await self.writer.commit(writes, audit or [None] * len(writes))
        return [each.applied for each in written]

    async def rows(self, table: str, columns: str) -> list[tuple[object, ...]]:
        async with self.database.reading() as connection:
            rows = await connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY 1, 2"))
            return [tuple(row) for row in rows]

    async def events(self) -> list[tuple[str, Event]]:
        async with self.database.reading() as connection:
            rows = await connection.execute(select(OUTBOX).order_by(OUTBOX.c.id))
            return [(row.destination, Event.FromString(row.payload)) for row in rows]


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        yield Ledger(database)


def changes(execution_id: str, state: ExecutionState = STATE, output: Json = None) -> Changes:
    return Changes(
        execution_id=execution_id,
        state=state,
        owner="replica/one",
        wake_at=state.deadline,
        output=output,
        outputs={f"step{state.sequence}": {"text": "é\u2028'\"\\"}},
        dropped=(),
        history=[
            HistoryEntry(
                sequence=state.sequence, type="x", step_id="", time=NOW, attributes={"n": 1.5}
            )
        ],
        organization="acme",
        traceparent="",
        announcements=[
            Announcement(sequence=state.sequence, type="execution.started", data={"n": 1})
        ],
        time=NOW,
    )


def begin(execution_id: str, *, request_id: str = "", newest: bool = False) -> Begin:
    return Begin(
        changes=changes(execution_id),
        workflow_id="chain",
        version=1,
        input={"text": "hello"},
        labels={"team": "a"},
        priority=7,
        retry_of="",
        request_id=request_id,
        newest=newest,
    )


def move(execution_id: str, sequence: int = 1, *, epoch: int = 1) -> Move:
    state = replace(STATE, sequence=sequence + 1)
    return Move(
        changes=changes(execution_id, state), epoch=epoch, sequence=sequence, inbox_folded=0
    )


def audit_entry() -> AuditEntry:
    return AuditEntry(
        organization="acme",
        actor="a",
        method="/m",
        request_id="",
        peer="",
        time=NOW,
        request_digest="",
    )


async def test_what_is_begun_and_moved_is_read_back(ledger: Ledger) -> None:
    assert await ledger.commit(begin("a", request_id="one")) == [True]
    ended = replace(STATE, status=ExecutionStatus.SUCCEEDED, sequence=2, ended_at=NOW)
    last = replace(
        move("a"), changes=replace(changes("a", ended, {"done": True}), owner=None, wake_at=None)
    )
    assert await ledger.commit(last) == [True]
    async with ledger.database.reading() as connection:
        record = await get_execution(connection, "acme", "a")
        outputs = await get_outputs(connection, ["a"])
        history = await list_history(connection, "a", after=0, limit=10)
        row = (await connection.execute(select(EXECUTION))).one()
    assert record is not None
    assert (record.state, record.output, record.owner) == (ended, {"done": True}, None)
    assert (record.input, record.labels, record.priority) == ({"text": "hello"}, {"team": "a"}, 7)
    assert (row.request_id, row.retry_of, row.wake_at, row.end_time) == ("one", None, None, NOW)
    text_of = {"text": "é\u2028'\"\\"}
    assert outputs == {"a": {"step1": text_of, "step2": text_of}}
    assert [(each.sequence, each.time) for each in history] == [(1, NOW), (2, NOW)]
    assert history[0].attributes == {"n": 1.5}


async def test_each_destination_gets_the_events_in_order(ledger: Ledger) -> None:
    await ledger.commit(begin("a"), begin("b"))
    await ledger.commit(move("a"), move("b"))
    events = await ledger.events()
    assert all(check_event(event) is None for _, event in events)
    for destination in ("webhooks", "monitoring"):
        mine = [event for name, event in events if name == destination]
        assert [(each.subject, each.sequence) for each in mine] == [
            ("executions/a", 1),
            ("executions/b", 1),
            ("executions/a", 2),
            ("executions/b", 2),
        ]


async def test_a_move_of_another_epoch_or_place_leaves_nothing(ledger: Ledger) -> None:
    await ledger.commit(begin("a"), begin("b"), begin("c"))
    before = await ledger.events()
    taken = await ledger.commit(move("a", epoch=2), move("b", 2), move("d"))
    assert taken == [False, False, False]
    assert await ledger.events() == before
    # Beside them, what is right goes through, alone.
    assert await ledger.commit(move("a", epoch=2), move("b"), begin("e")) == [False, True, True]
    assert await ledger.rows("execution", "execution_id, seq") == [
        ("a", 1),
        ("b", 2),
        ("c", 1),
        ("e", 1),
    ]
    assert await ledger.rows("history", "execution_id, seq") == [
        ("a", 1),
        ("b", 1),
        ("b", 2),
        ("c", 1),
        ("e", 1),
    ]
    assert ("a", "step2") not in await ledger.rows("step_output", "execution_id, step_id")


async def test_a_request_begins_one_execution(ledger: Ledger) -> None:
    assert await ledger.commit(begin("a", request_id="one")) == [True]
    taken = await ledger.commit(begin("b", request_id="one"), begin("c", request_id="two"))
    assert taken == [False, True]
    assert await ledger.rows("execution", "execution_id, request_id") == [
        ("a", "one"),
        ("c", "two"),
    ]


async def test_only_the_newest_version_begins(ledger: Ledger) -> None:
    async with ledger.database.transaction() as connection:
        row = {"organization": "acme", "workflow_id": "chain", "create_time": NOW}
        await connection.execute(insert(WORKFLOW).values(**row, latest_version=2))
    assert await ledger.commit(begin("a", newest=True), begin("b")) == [False, True]
    assert (ledger.batches[-1], ledger.applied) == (2, ["b"])
    newer = replace(begin("c", newest=True), version=2)
    assert await ledger.commit(newer) == [True]


async def test_a_wish_that_came_meanwhile_is_told_and_wakes(ledger: Ledger) -> None:
    await ledger.commit(begin("a"))
    async with ledger.database.transaction() as connection:
        await connection.execute(text("UPDATE execution SET inbox_seq = 3"))
    [written] = await ledger.writer.commit([replace(move("a"), inbox_folded=2)], [None])
    assert (written.applied, written.inbox_seq) == (True, 3)
    async with ledger.database.reading() as connection:
        wake_at = (await connection.execute(select(EXECUTION.c.wake_at))).scalar_one()
    assert wake_at is not None
    assert wake_at > NOW + timedelta(days=1)
    await ledger.commit(replace(move("a", 2), inbox_folded=3))
    async with ledger.database.reading() as connection:
        assert (await connection.execute(select(EXECUTION.c.wake_at))).scalar_one() == (
            NOW + timedelta(days=1)
        )


async def test_each_row_of_history_is_chained_to_the_one_before(ledger: Ledger) -> None:
    heads: dict[str, bytes] = {"a": b"", "b": b""}
    for writes in ([begin("a"), begin("b")], [move("a")], [move("a", 2), move("b")]):
        linked = [
            replace(each, changes=replace(each.changes, head=heads[each.changes.execution_id]))
            for each in writes
        ]
        for write, written in zip(
            linked, await ledger.writer.commit(linked, [None] * len(linked)), strict=True
        ):
            heads[write.changes.execution_id] = written.head
    assert await ledger.rows("execution", "execution_id, head") == sorted(heads.items())
    lines = [each async for each in export(ledger.database, ["a", "b"])]
    assert [(each.execution, each.entries) for each in verify(lines)] == [("a", 3), ("b", 2)]


async def test_what_is_longer_than_a_page_is_exported_whole(ledger: Ledger) -> None:
    entries = [
        HistoryEntry(sequence=number, type="x", step_id="", time=NOW, attributes={})
        for number in range(1, 2501)
    ]
    outputs = {f"step{number}": {"n": number} for number in range(45)}
    state = replace(STATE, sequence=len(entries))
    long = replace(changes("a", state), history=entries, outputs=outputs)
    await ledger.commit(replace(begin("a"), changes=long), begin("b"))
    lines = [each async for each in export(ledger.database, ["a", "b"])]
    assert [(each.execution, each.entries) for each in verify(lines)] == [("a", 2500), ("b", 1)]
    assert len([each for each in lines if each.startswith('{"kind":"output"')]) == 45 + 1


async def test_the_chain_of_what_is_older_begins_with_its_next_entry(ledger: Ledger) -> None:
    await ledger.commit(begin("a"))
    async with ledger.database.transaction() as connection:
        await connection.execute(text("UPDATE execution SET head = NULL"))
        await connection.execute(text("UPDATE history SET hash = NULL"))
    await ledger.commit(move("a"))
    lines = [each async for each in export(ledger.database, ["a"])]
    assert [(each.entries, each.unchained) for each in verify(lines)] == [(2, 1)]


async def test_a_fold_without_history_keeps_the_chain(ledger: Ledger) -> None:
    await ledger.commit(begin("a"))
    [(_, head)] = await ledger.rows("execution", "execution_id, head")
    assert isinstance(head, bytes)
    quiet = replace(move("a"), changes=replace(changes("a"), history=[], outputs={}, head=head))
    [written] = await ledger.writer.commit([quiet], [None])
    assert await ledger.rows("execution", "execution_id, head") == [("a", written.head)]
    assert written.head == head


async def test_audit_entries_are_written_once_with_the_batch(ledger: Ledger) -> None:
    one, two = audit_entry(), audit_entry()
    two.recorded = True
    await ledger.commit(begin("a"), begin("b"), begin("c"), audit=[one, two, None])
    assert one.recorded
    async with ledger.database.reading() as connection:
        rows = (await connection.execute(select(AUDIT_ENTRY))).all()
    assert [(row.method, row.time, row.outcome) for row in rows] == [("/m", NOW, "OK")]


async def test_a_batch_that_fails_leaves_nothing_behind(ledger: Ledger) -> None:
    await ledger.commit(begin("a"))
    entry = audit_entry()
    with pytest.raises(Exception, match=r"(?i)unique"):
        await ledger.commit(begin("b"), begin("a"), audit=[entry, None])
    assert not entry.recorded
    assert await ledger.rows("execution", "execution_id, seq") == [("a", 1)]
    assert await ledger.rows("audit_entry", "id, time") == []
    assert await ledger.commit(begin("b")) == [True]


async def test_a_poisoned_write_fails_alone(ledger: Ledger) -> None:
    commits = GroupCommit(ledger.writer.commit, keys=keys)
    await ledger.commit(begin("poison"))
    writes = [begin(f"x{number}") for number in range(7)] + [begin("poison")]
    async with running(commits.run):
        written = await asyncio.gather(
            *(commits.submit(each) for each in writes), return_exceptions=True
        )
    assert all(isinstance(each, Written) and each.applied for each in written[:7])
    assert isinstance(written[7], Exception)
    assert not isinstance(written[7], Unavailable)


async def test_a_writer_that_waits_for_a_row_sees_what_became_of_it(ledger: Ledger) -> None:
    await ledger.commit(begin("a"))
    async with ledger.database.transaction() as connection:
        await connection.execute(text("UPDATE execution SET epoch = 2"))
        moving = asyncio.create_task(ledger.writer.commit([move("a")], [None]))
        done, _ = await asyncio.wait({moving}, timeout=0.1)
        assert not done
    assert await moving == [NOT_APPLIED]
    assert len(await ledger.rows("history", "execution_id, seq")) == 1


async def test_nobody_is_told_where_nobody_listens(ledger: Ledger) -> None:
    outbox = Outbox(ledger.database, source=SOURCE, destinations=[])
    writer = TransitionWriter(ledger.database, outbox, observe=lambda *_: None)
    for write in (begin("a"), move("a")):
        [written] = await writer.commit([write], [None])
        assert written.applied
    assert await ledger.events() == []
