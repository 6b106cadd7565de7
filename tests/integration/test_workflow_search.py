"""Executions are found by what people know of them, and no question reads more than its answer."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.batch import dialect_of
from brikk_shared.database import Database
from brikk_shared.errors import Reason
from brikk_shared.label_selector import parse_selector
from brikk_shared.types import to_microseconds
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.store.search import (
    Position,
    Search,
    Span,
    choose_lead,
    count,
    find,
    missing,
    pages,
)
from support.gates import Gate
from support.refusals import refused
from support.workflows import State, World

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ONE = """
name: one
steps:
  - id: only
    call: {capability: text.one}
"""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url, migrations="brikk_workflow.store.migrations") as database:
        yield database


class Rows:
    """Executions as rows, one a minute, each lasting an hour; `expect` finds them the slow way."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def add(
        self,
        status: str = "succeeded",
        *,
        workflow: str = "one",
        labels: Mapping[str, str] | None = None,
        organization: str = "acme",
    ) -> str:
        number = len(self._rows)
        accepted = T0 + MINUTE * number
        ended = None if status in ("running", "paused") else to_microseconds(accepted + HOUR)
        self._rows.append(
            {
                "id": f"b{number:031x}",
                "organization": organization,
                "workflow": workflow,
                "status": status,
                "labels": json.dumps(labels or {}, separators=(",", ":")),
                "created": to_microseconds(accepted),
                "ended": ended,
            }
        )
        return f"b{number:031x}"

    async def write(self, connection: AsyncConnection) -> None:
        await connection.execute(text(_INSERT), self._rows)


async def found(database: Database, search: Search, *, page: int = 3) -> Sequence[str]:
    """All that match, page by page."""
    ids: list[str] = []
    after: Position | None = None
    async with database.reading() as connection:
        while True:
            part = await find(connection, "acme", search, after=after, limit=page)
            ids += [each.execution_id for each in part]
            if len(part) < page:
                break
            after = part[-1]
        assert await count(connection, "acme", search) == len(ids)
    return ids


async def test_every_part_of_a_search_holds_and_the_newest_comes_first(store: Database) -> None:
    rows = Rows()
    failed = rows.add("failed", labels={"team": "a", "tier": "gold"})
    running = rows.add("running", labels={"team": "a", "odd \"'$.key": "ü%"})
    other = rows.add(workflow="two", labels={"team": "b", "tier": ""})
    plain = rows.add()
    rows.add("failed", organization="other", labels={"team": "a"})
    async with store.transaction() as connection:
        await rows.write(connection)

    async def by(selector: str) -> Sequence[str]:
        return await found(store, Search(labels=parse_selector(selector)))

    assert await found(store, Search()) == [plain, other, running, failed]
    assert await found(store, Search(), page=2) == [plain, other, running, failed]
    both = frozenset([ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED])
    assert await found(store, Search(statuses=both), page=1) == [plain, other, failed]
    assert await found(store, Search(workflow_id="two")) == [other]
    assert await found(store, Search(execution_ids=frozenset([plain, failed]))) == [plain, failed]
    assert await by("team=a") == [running, failed]
    assert await by("team in (a,b)") == [other, running, failed]
    assert await by("team in (a,b),tier") == [other, failed]
    assert await by("team=a,tier!=gold") == [running]
    assert await by("!team") == [plain]
    assert await by("tier=") == [other]
    assert await by("team=a,team=b") == []
    labelled = Search(labels=parse_selector("team=a"), statuses=both)
    assert await found(store, labelled) == [failed]
    since = Search(created=Span(since=T0 + MINUTE, until=T0 + 3 * MINUTE))
    assert await found(store, since) == [other, running]
    ended = Search(ended=Span(since=T0 + HOUR + MINUTE, until=T0 + HOUR + 3 * MINUTE))
    assert await found(store, ended) == [other]
    async with store.reading() as connection:
        assert await missing(connection, "acme", [plain, "b4"]) == {"b4"}


async def test_labels_are_found_as_long_as_the_execution_is_there(store: Database) -> None:
    rows = Rows()
    rows.add(labels={"team": "a", "tier": "gold"})
    kept = rows.add(labels={"team": "a"})
    async with store.transaction() as connection:
        await rows.write(connection)
        await connection.execute(
            text("DELETE FROM execution WHERE execution_id <> :kept"), {"kept": kept}
        )
        left = await connection.execute(
            text("SELECT key, value, execution_id FROM execution_label")
        )
        assert left.all() == [("team", "a", kept)]


async def test_no_question_reads_the_whole_table(store: Database) -> None:
    """What the store does for a page does not grow with what it must not show."""
    few, many = 20, 10_000
    chance = random.Random(1)
    rows = Rows()
    for _ in range(many):
        rows.add("terminated", workflow="two")
    for number in range(many):
        rare = number % (many // few) == 0
        state = chance.choice(["failed", "running", "paused"]) if rare else "succeeded"
        labels = {"env": "prod", "order": str(number)}
        rows.add(state, workflow="rare" if rare else "one", labels=labels if number % 2 else {})
    async with store.transaction() as connection:
        await rows.write(connection)
    async with store.transaction() as connection:
        await connection.execute(text("ANALYZE"))
    middle = T0 + MINUTE * (many // 2)
    questions = {
        "all": Search(),
        "a rare state": Search(statuses=frozenset([ExecutionStatus.FAILED])),
        "rare states": Search(
            statuses=frozenset([ExecutionStatus.RUNNING, ExecutionStatus.PAUSED])
        ),
        "a rare workflow": Search(workflow_id="rare"),
        "a common workflow": Search(workflow_id="one"),
        "a rare workflow in a state": Search(
            workflow_id="rare", statuses=frozenset([ExecutionStatus.FAILED])
        ),
        "a label of one": Search(labels=parse_selector("order=77")),
        "a label of many": Search(labels=parse_selector("env=prod,order!=77")),
        "labels of many and of one": Search(labels=parse_selector("env=prod,order in (77,78)")),
        "a label of many in a rare state": Search(
            labels=parse_selector("env=prod"), statuses=frozenset([ExecutionStatus.FAILED])
        ),
        "a label of many and a rare workflow": Search(
            labels=parse_selector("env=prod"), workflow_id="rare"
        ),
        "a time": Search(created=Span(since=middle, until=middle + HOUR)),
        "a time of a workflow": Search(
            workflow_id="one", created=Span(since=middle, until=middle + HOUR)
        ),
        "ended at a time": Search(ended=Span(since=middle, until=middle + 5 * MINUTE)),
        "ended of late": Search(ended=Span(since=T0 + MINUTE * (2 * many + 55))),
        "some of a state of many": Search(
            execution_ids=frozenset(f"b{number:031x}" for number in range(3)),
            statuses=frozenset([ExecutionStatus.FAILED, ExecutionStatus.TERMINATED]),
        ),
        "some": Search(execution_ids=frozenset(f"b{number:031x}" for number in range(3))),
    }
    async with store.reading() as connection:
        whole = await effort(connection, Search(labels=parse_selector("!env,!order,order")))
        for name, search in questions.items():
            spent = await effort(connection, search)
            assert spent < whole / 6, (name, spent, whole)
        deep = Position(create_time=middle, execution_id="b")
        assert await effort(connection, Search(), after=deep) < whole / 5


async def effort(
    connection: AsyncConnection, search: Search, *, after: Position | None = None
) -> float:
    """What a page costs: instructions of SQLite's machine, or PostgreSQL's looks at its pages."""
    dialect = dialect_of(connection)
    lead = await choose_lead(connection, "acme", search)
    query = pages(dialect, "acme", search, lead, after=after, limit=20)
    compiled = str(query.compile(dialect=connection.dialect, compile_kwargs=_LITERAL))
    if dialect == "sqlite":
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        await driver.set_progress_handler(step, 10)
        await connection.execute(text(compiled.replace(":", "\\:")))
        await driver.set_progress_handler(None, 0)
        return steps
    explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}".replace(":", "\\:"))
    [plan] = (await connection.execute(explain)).scalar_one()
    return float(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


async def test_a_list_is_filtered_and_its_pages_belong_to_the_filter(
    tmp_path: Path, database_url: str
) -> None:
    gate = Gate()
    world = World(tmp_path, database_url)
    async with (
        world.open(),
        world.agent(text__one=gate.work),
        world.service() as client,
    ):
        await client.create(ONE)
        names = [
            (
                await client.executions.StartExecution(
                    pb.StartExecutionRequest(
                        workflow="workflows/one", labels={"team": team, "tier": tier}
                    ),
                    metadata=client.metadata,
                )
            ).name
            for team, tier in [("a", "x"), ("a", "y"), ("b", "x")]
        ]

        async def listed(filter: pb.ExecutionFilter, **more: object) -> pb.ListExecutionsResponse:
            return await client.executions.ListExecutions(
                pb.ListExecutionsRequest(filter=filter, **more),  # type: ignore[arg-type]  # fields
                metadata=client.metadata,
            )

        first = await listed(pb.ExecutionFilter(labels={"team": "a"}), page_size=1)
        assert [each.name for each in first.executions] == [names[1]]
        second = await listed(
            pb.ExecutionFilter(labels={"team": "a"}), page_token=first.next_page_token
        )
        assert [each.name for each in second.executions] == [names[0]]
        error = await refused(
            listed(pb.ExecutionFilter(labels={"team": "b"}), page_token=first.next_page_token)
        )
        assert error.reason is Reason.INVALID_PAGE_TOKEN
        both = await listed(
            pb.ExecutionFilter(
                labels={"tier": "x"},
                label_selector="team in (a,b),!none",
                states=[State.STATE_RUNNING, State.STATE_PAUSED],
                workflow="workflows/one",
            )
        )
        assert [each.name for each in both.executions] == [names[2], names[0]]
        error = await refused(listed(pb.ExecutionFilter(label_selector="team=a,,")))
        assert error.reason is Reason.INVALID_FIELD
        assert error.violations[0].field == "filter.label_selector"
        assert "character 8" in error.violations[0].description
        error = await refused(listed(pb.ExecutionFilter(states=[State.STATE_UNSPECIFIED])))
        assert error.violations[0].field == "filter.states"
        gate.open.set()


_LITERAL = {"literal_binds": True}
_INSERT = """
INSERT INTO execution (
    execution_id, organization, workflow_id, version, status, requested_transition, seq, epoch,
    inbox_seq, inbox_folded, snapshot, input, labels, traceparent, create_time, end_time
) VALUES (
    :id, :organization, :workflow, 1, :status, '', 1, 1, 0, 0, '{}', '{}', :labels, '',
    :created, :ended
)
"""
