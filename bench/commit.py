"""What a durable transition costs: the writer alone, without agents, relays or gRPC.

Each transition ends one step and starts the next: a row moved, an output, two history entries, and
an event for two destinations. As many are submitted at once as a batch shall hold.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.postgres import postgresql
from bench.report import Case, Report, middle, percentile
from brikk_shared.database import Database
from brikk_shared.group_commit import GroupCommit
from brikk_shared.ids import new_id
from brikk_shared.outbox import Outbox
from brikk_workflow.domain.decision import Announcement, HistoryEntry
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, StepState, StepStatus
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import (
    SOURCE,
    Begin,
    Changes,
    Move,
    Write,
    Written,
    keys,
)

BATCHES = (1, 8, 32, 128)
MIGRATIONS = "brikk_workflow.store.migrations"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
AGENT = "agents/echo"
OUTPUT = {"text": "The quick brown fox jumps over the lazy dog."}


async def measure(*, quick: bool) -> Report:
    """Runs every size of batch on both stores."""
    transitions = 2_000 if quick else 10_000
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="brikk-bench-") as home:
        async with postgresql(Path(home) / "postgresql") as url:
            stores = {
                "postgresql": url.format(service="workflow"),
                "sqlite": f"sqlite:///{home}/workflow.db",
            }
            for store, address in stores.items():
                async with Database(address, migrations=MIGRATIONS) as database:
                    cases += [await _case(database, store, batch, transitions) for batch in BATCHES]
    by_name = {case.name: case for case in cases}
    return Report(
        bench="commit",
        cases=cases,
        headline={
            f"cpu_us_{store}": by_name[f"{store}, batches of 32"].figures["cpu us"] or 0.0
            for store in ("postgresql", "sqlite")
        },
    )


async def _case(database: Database, store: str, batch: int, transitions: int) -> Case:
    outbox = Outbox(database, source=SOURCE, destinations=["webhooks", "monitoring"])
    writer = TransitionWriter(database, outbox, observe=lambda *_: None)
    commits = GroupCommit(writer.commit, keys=keys)
    committing = asyncio.create_task(commits.run())
    try:
        held = [_begin(new_id()) for _ in range(batch)]
        heads = await _commit(commits, held)
        moves = [_next(*each) for each in zip(held, heads, strict=True)]
        latencies: list[float] = []
        costs: list[float] = []
        rounds = max(20, transitions // batch) if batch > 1 else transitions // 4
        begun = time.perf_counter()
        for _ in range(rounds):
            burnt, asked = time.process_time(), time.perf_counter()
            heads = await _commit(commits, moves)
            latencies.append((time.perf_counter() - asked) * 1e3)
            costs.append((time.process_time() - burnt) * 1e6 / batch)
            moves = [_next(*each) for each in zip(moves, heads, strict=True)]
        seconds = time.perf_counter() - begun
    finally:
        committing.cancel()
        await asyncio.wait([committing])
    return Case(
        name=f"{store}, batches of {batch}",
        rate=round(rounds * batch / seconds, 1),
        p50_ms=percentile(latencies, 50),
        p99_ms=percentile(latencies, 99),
        figures={"cpu us": middle(costs)},
    )


async def _commit(commits: GroupCommit[Write, Written], writes: Sequence[Write]) -> Sequence[bytes]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(commits.submit(write)) for write in writes]
    if not all(task.result().applied for task in tasks):
        raise RuntimeError("a write was not applied")
    return [task.result().head for task in tasks]


def _begin(execution_id: str) -> Begin:
    state = ExecutionState(sequence=2, dispatches=1, started_at=NOW, deadline=NOW.replace(day=2))
    return Begin(
        changes=_changes(execution_id, state),
        workflow_id="bench-chain",
        version=1,
        input=OUTPUT,
        labels={},
        priority=5,
        retry_of="",
        request_id="",
        newest=False,
    )


def _next(write: Write, head: bytes) -> Move:
    changes = write.changes
    before = changes.state
    done = StepState(
        status=StepStatus.SUCCEEDED,
        attempt=1,
        agent=AGENT,
        started_at=NOW,
        attempt_at=NOW,
        ended_at=NOW + timedelta(milliseconds=7),
    )
    under_way = StepState(
        status=StepStatus.RUNNING,
        attempt=1,
        token=new_id(),
        agent=AGENT,
        started_at=NOW,
        attempt_at=NOW,
        due_at=NOW + timedelta(seconds=30),
    )
    state = replace(
        before,
        sequence=before.sequence + 2,
        dispatches=before.dispatches + 1,
        steps={"step0": done, "step1": done, "step2": under_way},
    )
    return Move(
        changes=replace(_changes(changes.execution_id, state), head=head),
        epoch=1,
        sequence=before.sequence,
        inbox_folded=0,
    )


def _changes(execution_id: str, state: ExecutionState) -> Changes:
    summary: dict[str, Json] = {
        "agent": AGENT,
        "attempts": 1,
        "duration_ms": 7.4,
        "latency_ms": 5.1,
    }
    sequence, step = state.sequence, f"step{state.sequence}"
    return Changes(
        execution_id=execution_id,
        state=state,
        owner="replica/bench",
        wake_at=state.deadline,
        output=None,
        outputs={step: OUTPUT},
        dropped=(),
        history=[
            HistoryEntry(
                sequence=sequence - 1,
                type="step.succeeded",
                step_id=step,
                time=NOW,
                attributes=summary,
            ),
            HistoryEntry(
                sequence=sequence,
                type="step.attempt_started",
                step_id=step,
                time=NOW,
                attributes={"attempt": 1, "token": new_id()},
            ),
        ],
        organization="acme",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        announcements=[
            Announcement(
                sequence=sequence - 1,
                type="step.succeeded",
                data={
                    "workflow": "bench-chain",
                    "step": step,
                    "capability": "bench.echo",
                    **summary,
                },
            )
        ],
        time=NOW,
    )
