"""How executions look to people: in a line, with their steps, with their history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from google.rpc.status_pb2 import Status
from rich.console import Group
from rich.table import Table
from rich.text import Text

from brikk.workflow.v1 import execution_pb2
from brikk_cli.failures import describe
from brikk_cli.render import between, moment, money, plain, state, table
from brikk_shared.status import from_status
from brikk_shared.structs import from_struct, from_value


def executions_table(executions: Iterable[execution_pb2.WorkflowExecution]) -> Table:
    """A line per execution."""
    rows = (
        (
            each.name,
            each.workflow_version,
            _state(each),
            moment(each.create_time),
            between(each.create_time, each.end_time),
            each.priority,
            each.retry_of,
            problem(each.error) if each.HasField("error") else "",
        )
        for each in executions
    )
    columns = ("execution", "workflow", "state", "started", "took", "priority", "retry of", "error")
    return table(columns, rows)


def steps_table(execution: execution_pb2.WorkflowExecution) -> Table:
    """A line per step: who does it, at which attempt, how long it took."""
    rows = (
        (
            step.path or step.step_id,
            state(execution_pb2.StepRun.State.Name(step.state)),
            step.capability,
            step.agent,
            step.attempts,
            between(step.start_time, step.end_time),
            problem(step.error) if step.HasField("error") else "",
        )
        for step in execution.steps
    )
    return table(("step", "state", "capability", "agent", "attempts", "took", "last error"), rows)


def state_line(execution: execution_pb2.WorkflowExecution) -> Text:
    """Which execution it is, where it stands, and what was asked of it."""
    name = plain(f"{execution.name} of {execution.workflow_version}: ")
    return Text.assemble(name, _state(execution))


def execution_view(execution: execution_pb2.WorkflowExecution) -> Group:
    """All that is known of one execution but its history."""
    parts: list[Table | Text] = [state_line(execution), *_facts(execution), steps_table(execution)]
    if execution.HasField("error"):
        parts.append(plain(f"error: {problem(execution.error)}"))
    if execution.HasField("output"):
        parts.append(plain(f"output: {_compact(from_value(execution.output))}"))
    return Group(*parts)


def history_table(entries: Iterable[execution_pb2.HistoryEntry]) -> Table:
    """A line per fact."""
    rows = (
        (each.sequence, moment(each.time), each.type, each.step_id, _attributes(each))
        for each in entries
    )
    return table(("", "time", "what", "step", "particulars"), rows)


def history_line(entry: execution_pb2.HistoryEntry) -> Text:
    """One fact where no table can be redrawn."""
    parts = (moment(entry.time), entry.type, entry.step_id, _attributes(entry))
    return plain(" ".join(part for part in parts if part))


def problem(status: Status) -> str:
    """Why something failed, with its reason."""
    return describe(from_status(status))


def _state(execution: execution_pb2.WorkflowExecution) -> Text:
    shown = state(execution_pb2.WorkflowExecution.State.Name(execution.state))
    if execution.state_reason:
        shown.append(f" ({plain(execution.state_reason)})")
    if wish := execution.requested_transition:
        name = execution_pb2.WorkflowExecution.Transition.Name(wish)
        shown.append(f", {name.removeprefix('TRANSITION_').lower()} requested")
    return shown


def _facts(execution: execution_pb2.WorkflowExecution) -> Iterator[Text]:
    """What is worth a line of its own, if there is any of it."""
    if execution.retry_of:
        yield plain(f"retry of {execution.retry_of}")
    usage = execution.usage
    used = [f"priority {execution.priority}", f"calls {usage.calls}"]
    if usage.tokens:
        used.append(f"tokens {usage.tokens}")
    if usage.cost_micros:
        used.append(f"cost {money(usage.cost_micros)}")
    yield plain(", ".join(used))


def _attributes(entry: execution_pb2.HistoryEntry) -> str:
    return _compact(from_struct(entry.attributes)) if entry.attributes.fields else ""


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
