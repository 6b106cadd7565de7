"""`brikk execution list`, and the options by which commands say which executions they mean."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.execution_view import executions_table
from brikk_cli.inputs import to_timestamp
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption, resource_name
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform


class ExecutionState(StrEnum):
    """Where an execution stands, as people write it."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    QUARANTINED = "quarantined"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


WorkflowOption = Annotated[str, typer.Option(help="Only executions of this workflow.")]
StateOption = Annotated[
    list[ExecutionState] | None,
    typer.Option("--state", help="Only executions in this state; give it again for more."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", help="Only executions whose labels match: team=a, tier!=b, !trial."),
]
SinceOption = Annotated[
    datetime | None, typer.Option(help="Only executions accepted from this time on.")
]
UntilOption = Annotated[
    datetime | None, typer.Option(help="Only executions accepted before this time.")
]


def list_(
    workflow: WorkflowOption = "",
    state: StateOption = None,
    label: LabelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List executions, newest first."""
    request = pb.ListExecutionsRequest(filter=to_filter(workflow, state, label, since, until))
    perform(_list(request, limit, home, json), as_json=json)


def to_filter(
    workflow: str,
    states: list[ExecutionState] | None,
    labels: list[str] | None,
    since: datetime | None,
    until: datetime | None,
) -> pb.ExecutionFilter:
    """What the options ask for; times without a zone are the user's."""
    return pb.ExecutionFilter(
        workflow=resource_name("workflows", workflow) if workflow else "",
        states=[
            execution_pb2.WorkflowExecution.State.Value(f"STATE_{each.name}")
            for each in states or ()
        ],
        label_selector=",".join(labels or ()),
        create_since=to_timestamp(since),
        create_until=to_timestamp(until),
    )


async def _list(request: pb.ListExecutionsRequest, limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        executions = await services.pages(
            services.executions.ListExecutions, request, lambda page: page.executions, limit=limit
        )
    if json:
        print_json({"executions": [as_json(each) for each in executions]})
    else:
        show(executions_table(executions))
