"""The inbox of executions: recorded once, read in order, left alone where nobody knows the kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.database import Database
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus
from brikk_workflow.domain.state_json import state_to_json
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.store.tables import EXECUTION, EXECUTION_INBOX
from brikk_workflow.store.wishes import held_with_wishes, read_wishes, record_wish

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = "replica/one"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        yield database


async def add_execution(
    connection: AsyncConnection, name: str, status: ExecutionStatus = ExecutionStatus.RUNNING
) -> None:
    """Adds one that waits for an hour, held by `OWNER`."""
    state = ExecutionState(status=status, started_at=NOW, deadline=NOW + timedelta(hours=1))
    await connection.execute(
        insert(EXECUTION).values(
            execution_id=name,
            organization="acme",
            workflow_id="w",
            version=1,
            status=status,
            requested_transition="",
            seq=1,
            owner=OWNER,
            epoch=1,
            wake_at=datetime.now(UTC) + timedelta(hours=1),
            inbox_seq=0,
            inbox_folded=0,
            snapshot=state_to_json(state),
            input={},
            labels={},
            priority=5,
            traceparent="",
            create_time=NOW,
            end_time=NOW if status.terminal else None,
        )
    )


async def record(
    database: Database,
    name: str,
    kind: WishKind,
    *,
    request_id: str = "",
    organization: str = "acme",
) -> ExecutionRecord | None:
    async with database.transaction() as connection:
        return await record_wish(
            connection,
            database,
            organization,
            name,
            kind=kind,
            attributes={},
            request_id=request_id,
            now=NOW,
        )


async def test_wishes_are_read_in_order_after_what_was_folded_and_read(database: Database) -> None:
    async with database.transaction() as connection:
        await add_execution(connection, "a")
        await add_execution(connection, "b")
    async with database.reading() as connection:
        assert await held_with_wishes(connection, database, OWNER) == []
    for kind in (WishKind.PAUSE, WishKind.RESUME, WishKind.CANCEL):
        recorded = await record(database, "a", kind)
        assert recorded is not None
        assert recorded.requested_transition == kind
    async with database.transaction() as connection:
        assert await held_with_wishes(connection, database, OWNER) == ["a"]
        assert await held_with_wishes(connection, database, "replica/two") == []
        wishes = await read_wishes(connection, {"a": 0, "b": 0})
        assert [each.kind for each in wishes["a"]] == ["pause", "resume", "cancel"]
        assert wishes["b"] == []
        assert [each.inbox_seq for each in (await read_wishes(connection, {"a": 2}))["a"]] == [3]
        await connection.execute(
            update(EXECUTION).where(EXECUTION.c.execution_id == "a").values(inbox_folded=3)
        )
        assert (await read_wishes(connection, {"a": 0}))["a"] == []
        assert await held_with_wishes(connection, database, OWNER) == []


async def test_a_request_id_is_recorded_once_however_many_come_at_once(database: Database) -> None:
    async with database.transaction() as connection:
        await add_execution(connection, "a")
    await asyncio.gather(
        *(record(database, "a", WishKind.PAUSE, request_id="r1") for _ in range(10)),
        *(record(database, "a", WishKind.RESUME) for _ in range(10)),
    )
    async with database.reading() as connection:
        wishes = (await read_wishes(connection, {"a": 0}))["a"]
    assert [each.inbox_seq for each in wishes] == list(range(1, 12))
    assert [each.kind for each in wishes].count(WishKind.PAUSE) == 1


async def test_what_has_ended_or_is_not_ours_stays_as_it_is(database: Database) -> None:
    async with database.transaction() as connection:
        await add_execution(connection, "ended", ExecutionStatus.SUCCEEDED)
        await add_execution(connection, "open")
    ended = await record(database, "ended", WishKind.TERMINATE)
    assert ended is not None
    assert (ended.inbox_seq, ended.requested_transition) == (0, "")
    assert await record(database, "open", WishKind.TERMINATE, organization="other") is None
    assert await record(database, "absent", WishKind.TERMINATE) is None
    async with database.reading() as connection:
        wishes = await read_wishes(connection, {"ended": 0, "open": 0})
    assert wishes == {"ended": [], "open": []}


async def test_a_kind_that_only_a_newer_program_knows_waits_for_it(database: Database) -> None:
    async with database.transaction() as connection:
        await add_execution(connection, "a")
        await add_execution(connection, "b")
    for name in ("a", "b"):
        await record(database, name, WishKind.PAUSE)
    async with database.transaction() as connection:
        await connection.execute(
            insert(EXECUTION_INBOX).values(
                execution_id="a", inbox_seq=2, kind="levitate", attributes={}, create_time=NOW
            )
        )
        await connection.execute(text("UPDATE execution SET inbox_seq = 2"))
    for name in ("a", "b"):
        await record(database, name, WishKind.RESUME)
    async with database.reading() as connection:
        wishes = await read_wishes(connection, {"a": 0, "b": 0})
    assert [each.kind for each in wishes["a"]] == [WishKind.PAUSE]
    assert [each.kind for each in wishes["b"]] == [WishKind.PAUSE, WishKind.RESUME]
