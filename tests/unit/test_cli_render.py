"""What commands print."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status
from rich.console import Console, RenderableType

from brikk.workflow.v1 import execution_pb2
from brikk_cli.execution_view import execution_view, history_line, steps_table
from brikk_cli.render import as_json, between, duration, moment, print_json, state, table
from brikk_shared.errors import Reason, Unavailable
from brikk_shared.status import to_status
from brikk_shared.structs import to_struct, to_value


def drawn(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def failure() -> Status:
    return to_status(Unavailable(Reason.AGENT_UNAVAILABLE, "the agent hung up"))


@pytest.fixture
def execution() -> execution_pb2.WorkflowExecution:
    return execution_pb2.WorkflowExecution(
        name="executions/e1",
        workflow_version="workflows/triage/versions/2",
        state=execution_pb2.WorkflowExecution.STATE_RUNNING,
        requested_transition=execution_pb2.WorkflowExecution.TRANSITION_CANCEL,
        output=to_value({"severity": "high"}),
        steps=[
            execution_pb2.StepRun(
                step_id="classify",
                state=execution_pb2.StepRun.STATE_BACKING_OFF,
                capability="ticket.classify",
                agent="agents/classifier-1",
                attempts=2,
                error=failure(),
            ),
            execution_pb2.StepRun(
                step_id="search",
                state=execution_pb2.StepRun.STATE_SUCCEEDED,
                start_time=Timestamp(seconds=100),
                end_time=Timestamp(seconds=101, nanos=500_000_000),
            ),
        ],
    )


def test_an_execution_shows_its_steps_agents_attempts_and_errors(
    execution: execution_pb2.WorkflowExecution,
) -> None:
    text = drawn(execution_view(execution))
    assert "executions/e1 of workflows/triage/versions/2: running, cancel requested" in text
    [classify] = [line for line in text.splitlines() if line.startswith("classify")]
    assert " ".join(classify.split()) == (
        "classify backing off ticket.classify agents/classifier-1 2 "
        "the agent hung up (AGENT_UNAVAILABLE)"
    )
    assert "1.5 s" in text
    assert 'output: {"severity": "high"}' in text


def test_an_execution_shows_what_is_asked_of_it_what_it_used_and_whom_it_retries(
    execution: execution_pb2.WorkflowExecution,
) -> None:
    execution.state = execution_pb2.WorkflowExecution.STATE_PAUSED
    execution.requested_transition = execution_pb2.WorkflowExecution.TRANSITION_RESUME
    execution.state_reason = "lunch"
    execution.priority = 7
    execution.retry_of = "executions/e0"
    execution.usage.calls = 3
    assert "priority 7, calls 3\n" in drawn(execution_view(execution))
    execution.usage.tokens = 120
    execution.usage.cost_micros = 2_500
    lines = drawn(execution_view(execution)).splitlines()
    assert lines[:3] == [
        "executions/e1 of workflows/triage/versions/2: paused (lunch), resume requested",
        "retry of executions/e0",
        "priority 7, calls 3, tokens 120, cost 0.0025",
    ]


def test_a_quarantined_execution_says_why(execution: execution_pb2.WorkflowExecution) -> None:
    execution.state = execution_pb2.WorkflowExecution.STATE_QUARANTINED
    execution.error.CopyFrom(failure())
    text = drawn(execution_view(execution))
    assert "quarantined" in text
    assert "error: the agent hung up (AGENT_UNAVAILABLE)" in text


def test_a_history_line_says_when_what_and_with_what() -> None:
    entry = execution_pb2.HistoryEntry(
        sequence=3,
        type="step.attempt_started",
        step_id="classify",
        time=Timestamp(seconds=100),
        attributes=to_struct({"agent": "agents/a"}),
    )
    line = history_line(entry).plain
    assert line.endswith(' step.attempt_started classify {"agent": "agents/a"}')


def test_what_strangers_wrote_has_no_effect_on_the_terminal() -> None:
    text = drawn(table(("a",), [("\x1b[31mred[bold]x[/bold]\x07 é",)]))
    assert "\\x1b[31mred[bold]x[/bold]\\x07 é" in text
    assert "\x1b" not in text


def test_json_has_the_contracts_names_and_every_field(
    execution: execution_pb2.WorkflowExecution, capsys: pytest.CaptureFixture[str]
) -> None:
    print_json(as_json(execution))
    document = json.loads(capsys.readouterr().out)
    assert document["workflow_version"] == "workflows/triage/versions/2"
    assert document["steps"][0]["state"] == "STATE_BACKING_OFF"
    assert document["steps"][0]["error"]["details"][0]["reason"] == "AGENT_UNAVAILABLE"
    assert document["steps"][1]["attempts"] == 0
    assert document["labels"] == {}


def test_states_read_well() -> None:
    assert state("STATE_BACKING_OFF").plain == "backing off"
    assert "pending" in drawn(
        steps_table(
            execution_pb2.WorkflowExecution(
                steps=[execution_pb2.StepRun(state=execution_pb2.StepRun.STATE_PENDING)]
            )
        )
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(milliseconds=3.4), "3 ms"),
        (timedelta(seconds=2.345), "2.3 s"),
        (timedelta(minutes=3), "0:03:00"),
    ],
)
def test_durations_have_the_unit_that_reads_best(value: timedelta, text: str) -> None:
    assert duration(value) == text


def test_a_time_that_is_not_set_is_empty() -> None:
    assert moment(Timestamp()) == ""
    assert between(Timestamp(seconds=1), Timestamp()) == ""
    assert moment(Timestamp(seconds=1)) != ""
