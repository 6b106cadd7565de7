"""The tree that a terminal sees while it follows an execution."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from brikk.workflow.v1.execution_pb2 import (
    AttemptProgress,
    ExecutionUsage,
    HistoryEntry,
    StepProgress,
    StepRun,
    WorkflowExecution,
)
from brikk.workflow.v1.execution_service_pb2 import WatchExecutionResponse
from brikk_cli.execution_tree import ExecutionTree
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.status import to_status
from brikk_shared.structs import to_struct
from brikk_shared.testing import ManualClock

CLOCK = ManualClock(datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC))


def at(second: float) -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    moment.seconds += int(second)
    moment.nanos = round(second % 1 * 1_000_000_000)
    return moment


def step(path: str, state: StepRun.State.ValueType, **more: object) -> StepRun:
    run = StepRun(step_id=path.rpartition("/")[2], path=path, state=state, start_time=at(0))
    run.MergeFrom(StepRun(**more))  # type: ignore[arg-type]  # fields of the message
    return run


def drawn(tree: ExecutionTree) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=160).print(tree)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def answer(*steps: StepRun, entries: tuple[HistoryEntry, ...] = ()) -> WatchExecutionResponse:
    execution = WorkflowExecution(
        name="executions/e1",
        workflow_version="workflows/w/versions/1",
        state=WorkflowExecution.STATE_RUNNING,
        create_time=at(0),
        usage=ExecutionUsage(calls=4, tokens=120, cost_micros=2_500),
        steps=steps,
    )
    return WatchExecutionResponse(execution=execution, entries=entries)


def used(step_id: str, tokens: int, cost_micros: int) -> HistoryEntry:
    facts = to_struct({"tokens": tokens, "cost_micros": cost_micros})
    return HistoryEntry(type="step.attempt_failed", step_id=step_id, attributes=facts)


def test_steps_stand_inside_one_another_with_bars_agents_attempts_costs_and_durations() -> None:
    tree = ExecutionTree(CLOCK)
    tree.take(answer(entries=(used("plan", 10, 500),)))
    error = to_status(Unavailable(Reason.AGENT_UNAVAILABLE, "it hung up"))
    tree.take(
        answer(
            step(
                "plan",
                StepRun.STATE_SUCCEEDED,
                capability="text.plan",
                agent="agents/p",
                attempts=2,
                end_time=at(1.5),
            ),
            step(
                "experts", StepRun.STATE_RUNNING, progress=StepProgress(total=10, done=4, failed=1)
            ),
            step("experts/3/review", StepRun.STATE_BACKING_OFF, attempts=3, error=error),
            step("refine", StepRun.STATE_RUNNING, progress=StepProgress(done=7)),
            entries=(used("plan", 20, 1_000),),
        )
    )
    head, plan, experts, item, review, refine = drawn(tree)
    assert head == (
        "executions/e1 of workflows/w/versions/1: running 12.0 s 4 calls 120 tokens cost 0.0025"
    )
    assert plan == ("├── plan succeeded text.plan agents/p attempt 2 1.5 s 30 tokens cost 0.0015")
    assert experts.startswith("├── experts running 12.0 s ━")
    assert experts.endswith("4/10, 1 failed")
    assert item == "│ └── 3"
    assert review == "│ └── review backing off attempt 3 12.0 s it hung up (AGENT_UNAVAILABLE)"
    assert refine == "└── refine running 12.0 s 7 done"


def test_an_agent_at_work_has_a_bar_by_its_own_word() -> None:
    tree = ExecutionTree(CLOCK)
    told = AttemptProgress(fraction=0.25, message="page 1 of 4\x1b[2J")
    tree.take(answer(step("print", StepRun.STATE_RUNNING, attempt_progress=told)))
    _, line = drawn(tree)
    assert line.startswith("└── print running 12.0 s ━")
    assert line.endswith("25% page 1 of 4\\x1b[2J")


def test_in_a_crowd_what_is_done_inside_a_step_is_left_out() -> None:
    tree = ExecutionTree(CLOCK)
    items = [
        step(f"map/{number}/do", StepRun.STATE_FAILED if number == 77 else StepRun.STATE_SUCCEEDED)
        for number in range(100)
    ]
    tree.take(answer(step("map", StepRun.STATE_RUNNING), *items))
    assert [line.split()[-4:-2] for line in drawn(tree)[1:]][-1] == ["do", "failed"]
    assert len(drawn(tree)) == 4


def test_what_a_stranger_wrote_moves_no_cursor() -> None:
    tree = ExecutionTree(CLOCK)
    tree.take(answer(step("one", StepRun.STATE_RUNNING, agent="agents/\x1b[2J[red]x")))
    assert "agents/\\x1b[2J[red]x" in drawn(tree)[1]
