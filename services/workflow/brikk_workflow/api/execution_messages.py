"""Executions, steps and history as messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from google.rpc import status_pb2

from brikk.workflow.v1 import execution_pb2
from brikk_shared.status import make_error, to_status
from brikk_shared.structs import to_struct, to_value
from brikk_shared.times import to_timestamp
from brikk_workflow.domain.attempt_progress import AttemptProgress
from brikk_workflow.domain.compiled import CompiledCall, CompiledSeveral, CompiledWorkflow
from brikk_workflow.domain.decision import HistoryEntry
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionStatus

State = execution_pb2.WorkflowExecution.State
"""Where an execution stands, as the contract numbers it."""
_STATES = {status: State.Value(f"STATE_{status.name}") for status in ExecutionStatus}


def to_execution(record: ExecutionRecord) -> execution_pb2.WorkflowExecution:
    """Returns the BASIC view."""
    state = record.state
    unread = record.inbox_seq > record.inbox_folded and not state.status.terminal
    transition = record.requested_transition if unread else ""
    return execution_pb2.WorkflowExecution(
        name=f"executions/{record.execution_id}",
        workflow_version=f"workflows/{record.workflow_id}/versions/{record.version}",
        state=_STATES[state.status],
        requested_transition=execution_pb2.WorkflowExecution.Transition.Value(
            f"TRANSITION_{transition.upper() or 'UNSPECIFIED'}"
        ),
        state_reason=state.pause_reason,
        error=to_error(state.failure),
        labels=record.labels,
        sequence=state.sequence,
        create_time=to_timestamp(record.create_time),
        end_time=to_timestamp(state.ended_at),
        priority=record.priority,
        retry_of=f"executions/{record.retry_of}" if record.retry_of else "",
        history_hash=record.head.hex(),
        usage=execution_pb2.ExecutionUsage(
            calls=state.calls,
            tokens=state.usage.tokens,
            cost_micros=state.usage.cost_micros,
        ),
    )


def to_result(record: ExecutionRecord) -> execution_pb2.WorkflowExecution:
    """Returns the BASIC view, with the output of an execution that has succeeded."""
    execution = to_execution(record)
    if record.state.status is ExecutionStatus.SUCCEEDED:
        execution.output.CopyFrom(to_value(record.output))
    return execution


def to_full_execution(
    record: ExecutionRecord,
    workflow: CompiledWorkflow,
    outputs: Mapping[str, Json],
    progress: Mapping[str, AttemptProgress],
    *,
    with_input: bool = True,
) -> execution_pb2.WorkflowExecution:
    """Returns the FULL view; steps in the order of the definition, what is inside after each.

    `progress` is what agents tell of attempts, by their tokens; those that have ended are left out.
    """
    execution = to_result(record)
    if with_input:
        execution.input.CopyFrom(to_struct(record.input))
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for path in record.state.steps:
        inside[path.partition("/")[0]].append(path)
    for step in workflow.definition.steps:
        execution.steps.append(_to_run(step.id, record, workflow, outputs, progress))
        for path in inside[step.id]:
            if path != step.id:
                execution.steps.append(_to_run(path, record, workflow, outputs, progress))
    return execution


def _to_run(
    path: str,
    record: ExecutionRecord,
    workflow: CompiledWorkflow,
    outputs: Mapping[str, Json],
    progress: Mapping[str, AttemptProgress],
) -> execution_pb2.StepRun:
    state, compiled = record.state.step(path), workflow.at(path)
    called = isinstance(compiled.work, CompiledCall | CompiledSeveral)
    written = compiled.call.kind.capability if called else ""
    run = execution_pb2.StepRun(
        step_id=compiled.step.id or compiled.body.owner,
        path=path,
        state=execution_pb2.StepRun.State.Value(f"STATE_{state.status.name}"),
        attempts=state.attempt,
        agent=state.agent,
        capability=state.capability or written,
        execution=state.child,
        error=to_error(state.failure),
        start_time=to_timestamp(state.started_at),
        end_time=to_timestamp(state.ended_at),
    )
    if state.progress is not None:
        run.progress.CopyFrom(
            execution_pb2.StepProgress(
                total=state.progress.total, done=state.progress.done, failed=state.progress.failed
            )
        )
    told = progress.get(state.token)
    if told is not None:
        run.attempt_progress.CopyFrom(
            execution_pb2.AttemptProgress(
                fraction=told.fraction, message=told.message, update_time=to_timestamp(told.time)
            )
        )
    output = outputs.get(path)
    if isinstance(output, Mapping):
        run.output.CopyFrom(to_struct(output))
    elif output is not None:
        run.value.CopyFrom(to_value(output))
    return run


def to_history_entry(entry: HistoryEntry) -> execution_pb2.HistoryEntry:
    """Returns the message of a history entry."""
    return execution_pb2.HistoryEntry(
        sequence=entry.sequence,
        type=entry.type,
        step_id=entry.step_id,
        time=to_timestamp(entry.time),
        attributes=to_struct(entry.attributes),
    )


def to_error(failure: Failure | None) -> status_pb2.Status | None:
    """Returns the message of a failure, if there is one."""
    if failure is None:
        return None
    error = make_error(failure.code, failure.reason, failure.message, metadata=failure.metadata)
    return to_status(error)
