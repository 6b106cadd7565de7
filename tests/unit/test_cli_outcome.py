"""The verdict on a demonstration: what it counts, and what it does not let pass."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from brikk.monitoring.v1.performance_pb2 import (
    AgentPerformance,
    CoordinationSummary,
    ExecutionCounts,
)
from brikk.workflow.v1.execution_pb2 import StepRun, WorkflowExecution
from brikk_cli.demo.alarm import Alarms
from brikk_cli.demo.outcome import Deliveries, Outcome


def execution(number: int, *, attempts: int = 1) -> WorkflowExecution:
    return WorkflowExecution(
        name=f"executions/e{number}",
        state=WorkflowExecution.STATE_SUCCEEDED,
        steps=[
            StepRun(
                step_id="classify",
                state=StepRun.STATE_SUCCEEDED,
                attempts=attempts,
                agent="agents/classifier-ab12",
                capability="ticket.classify",
                start_time=Timestamp(seconds=10),
                end_time=Timestamp(seconds=12),
            ),
            StepRun(step_id="page", state=StepRun.STATE_SKIPPED),
        ],
    )


@pytest.fixture
def outcome() -> Outcome:
    return Outcome(
        executions=[execution(1), execution(2, attempts=3)],
        deliveries=Deliveries(delivered=4, failed=0),
        verified=4,
        refused=[],
        summary=CoordinationSummary(executions=ExecutionCounts(started=2, succeeded=2)),
        agents=[
            AgentPerformance(agent="agents/classifier-ab12", calls=3),
            AgentPerformance(agent="agents/classifier-cd34", calls=1),
            AgentPerformance(agent="agents/search-er-ef56", calls=2),
        ],
        display_names={
            "agents/classifier-ab12": "classifier",
            "agents/classifier-cd34": "classifier",
        },
        alarms=Alarms(fired=1, notified=1, resolved=1),
        seconds=7.25,
    )


def test_programs_get_the_figures(outcome: Outcome) -> None:
    assert list(outcome.problems()) == []
    assert outcome.document() == {
        "executions": {"started": 2, "succeeded": 2, "failed": 0},
        "steps": {"completed": 2, "retried": 1},
        "agents": {"classifier": 4, "search-er": 2},
        "deliveries": {"delivered": 4, "verified": 4, "failed": 0},
        "metrics": {"executions_recorded": 2},
        "alerts": {"fired": 1, "notified": 1, "resolved": 1},
        "seconds": 7.2,
    }


def test_people_get_tables(outcome: Outcome) -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(outcome.view())
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "classify ticket.classify 2 0 4 2.0 s 2.0 s classifier x2" in lines
    assert "deliveries 4 delivered, 4 with a verified signature, 0 failed" in lines


def test_an_execution_that_did_not_succeed_is_a_problem(outcome: Outcome) -> None:
    running = replace(outcome, executions=[*outcome.executions[1:], WorkflowExecution()])
    assert running.document()["executions"] == {"started": 2, "succeeded": 1, "failed": 1}
    assert "is in STATE_UNSPECIFIED" in next(running.problems())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda it: replace(it, deliveries=Deliveries(delivered=3, failed=1)),
            "3 of 4 deliveries arrived",
        ),
        (lambda it: replace(it, verified=3), "4 deliveries arrived, 3 were verified"),
        (lambda it: replace(it, refused=["no"]), "1 deliveries were refused: no"),
        (
            lambda it: replace(it, summary=CoordinationSummary()),
            "monitoring counted 0 of 2 executions",
        ),
        (lambda it: replace(it, executions=[execution(1), execution(2)]), "no step was retried"),
        (
            lambda it: replace(it, alarms=Alarms(fired=1, notified=1, resolved=0)),
            "of alerts, 1 fired, 1 notified, 0 resolved",
        ),
    ],
)
def test_every_part_is_judged(
    outcome: Outcome, change: Callable[[Outcome], Outcome], problem: str
) -> None:
    assert any(each.startswith(problem) for each in change(outcome).problems())
