"""Executions that ended at times of a test's choice, written as the engine writes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select

from brikk_shared import tables as shared
from brikk_shared.database import Database
from brikk_shared.outbox import Outbox
from brikk_workflow.domain.decision import HistoryEntry
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus
from brikk_workflow.store.tables import AGENT_WAIT, EXECUTION, EXECUTION_INBOX, METADATA
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import SOURCE, Begin, Changes, Move


class Past:
    """A store, and what happened in it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        outbox = Outbox(database, source=SOURCE, destinations=[])
        self._writer = TransitionWriter(database, outbox, observe=lambda *_: None)

    async def ran(self, *execution_ids: str, end: datetime, organization: str = "acme") -> None:
        """Has executions begin, ask for something, wait for an agent and end."""
        start = end - timedelta(minutes=1)
        begun = [_begin(each, organization, start) for each in execution_ids]
        written = await self._writer.commit(begun, [None] * len(begun))
        assert all(each.applied for each in written)
        moves = [_move(begin, each.head, end) for begin, each in zip(begun, written, strict=True)]
        written = await self._writer.commit(moves, [None] * len(moves))
        assert all(each.applied for each in written)
        async with self.database.transaction() as connection:
            for each in execution_ids:
                wish = {"kind": "cancel", "attributes": {}, "create_time": start}
                key = {"execution_id": each}
                await connection.execute(insert(EXECUTION_INBOX).values(**key, **wish, inbox_seq=1))
                wait = {"organization": organization, "capability": "a.b"}
                await connection.execute(insert(AGENT_WAIT).values(**key, **wait))

    async def began(self, execution_id: str, start: datetime) -> None:
        """Has an execution begin that does not end."""
        [written] = await self._writer.commit([_begin(execution_id, "acme", start)], [None])
        assert written.applied

    async def executions(self) -> Sequence[str]:
        """Returns which there are."""
        query = select(EXECUTION.c.execution_id).order_by(EXECUTION.c.execution_id)
        async with self.database.reading() as connection:
            return (await connection.execute(query)).scalars().all()

    async def rows(self) -> dict[str, int]:
        """Returns how many rows each table of the service has."""
        tables = {**METADATA.tables, **shared.METADATA.tables}
        async with self.database.reading() as connection:
            return {
                name: (
                    await connection.execute(select(func.count()).select_from(table))
                ).scalar_one()
                for name, table in tables.items()
            }


@asynccontextmanager
async def past(url: str) -> AsyncIterator[Past]:
    """Opens a store in which nothing has happened yet."""
    async with Database(url, migrations="brikk_workflow.store.migrations") as database:
        yield Past(database)


def _begin(execution_id: str, organization: str, start: datetime) -> Begin:
    state = ExecutionState(sequence=1, started_at=start, deadline=start + timedelta(days=1))
    return Begin(
        changes=_changes(execution_id, organization, state, start),
        workflow_id="chain",
        version=1,
        input={"text": "é"},
        labels={"team": "a"},
        priority=7,
        retry_of="",
        request_id="",
        newest=False,
    )


def _move(begin: Begin, head: bytes, end: datetime) -> Move:
    changes = begin.changes
    state = ExecutionState(
        status=ExecutionStatus.SUCCEEDED,
        sequence=2,
        started_at=changes.state.started_at,
        deadline=changes.state.deadline,
        ended_at=end,
    )
    moved = _changes(changes.execution_id, changes.organization, state, end)
    return Move(
        changes=replace(moved, head=head),
        epoch=1,
        sequence=1,
        inbox_folded=0,
    )


def _changes(execution_id: str, organization: str, state: ExecutionState, now: datetime) -> Changes:
    entry = HistoryEntry(
        sequence=state.sequence, type="x", step_id="a/1/b", time=now, attributes={"n": 1.0}
    )
    return Changes(
        execution_id=execution_id,
        state=state,
        owner=None,
        wake_at=None,
        output={"done": True} if state.status.terminal else None,
        outputs={f"step{state.sequence}": {"n": state.sequence}},
        dropped=(),
        history=[entry],
        organization=organization,
        traceparent="",
        announcements=[],
        time=now,
    )
