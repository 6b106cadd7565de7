"""`brikk execution`: running workflows and following the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_cli.client import WATCH_PATIENCE, Services
from brikk_cli.commands import execution_batches
from brikk_cli.commands.execution_history import export, verify_
from brikk_cli.commands.execution_listing import list_
from brikk_cli.commands.execution_start_batch import start_batch
from brikk_cli.commands.execution_verbs import cancel, pause, resume, signal, skip, terminate
from brikk_cli.execution_view import execution_view, history_table
from brikk_cli.failures import ExitCode
from brikk_cli.follow import follow
from brikk_cli.inputs import read_input, read_labels
from brikk_cli.options import (
    DEFAULT_HOME,
    ExecutionArgument,
    HomeOption,
    JsonOption,
    LabelsOption,
    PriorityOption,
    resource_name,
)
from brikk_cli.render import as_json, console, plain, print_json, show
from brikk_cli.session import perform
from brikk_shared.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Run workflows and follow the runs.")

_MOST_HISTORY = 10_000

RequestIdOption = Annotated[
    str, typer.Option(help="The same ID starts the same execution once; made when not given.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Follow it to its end; exit code 1 unless it succeeds.")
]


@app.command()
def start(
    workflow: Annotated[
        str, typer.Argument(help="ID of the workflow; workflows/ID/versions/N for one version.")
    ],
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="JSON file; - is stdin.")
    ] = None,
    input_json: Annotated[str | None, typer.Option(help="The input itself, as JSON.")] = None,
    label: LabelsOption = None,
    priority: PriorityOption = None,
    request_id: RequestIdOption = "",
    wait: WaitOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Start an execution of a workflow."""
    perform(
        _start(workflow, input_file, input_json, label, priority, request_id, wait, home, json),
        as_json=json,
    )


@app.command()
def watch(
    name: ExecutionArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Follow an execution to its end; exit code 1 unless it succeeds."""
    perform(_watch(name, home, json), as_json=json)


@app.command("show")
def show_(
    name: ExecutionArgument,
    history: Annotated[
        bool, typer.Option("--history", help="Show what happened, fact by fact.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show an execution with its steps, its error and its output."""
    perform((_history if history else _show)(name, home, json), as_json=json)


@app.command()
def retry(
    name: ExecutionArgument,
    workflow: Annotated[
        str,
        typer.Option(
            help="workflows/ID for its newest version, workflows/ID/versions/N for that one; "
            "the version that failed when not given."
        ),
    ] = "",
    from_step: Annotated[
        str, typer.Option("--from", help="Step to begin with; what was not done when not given.")
    ] = "",
    request_id: RequestIdOption = "",
    wait: WaitOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Start an execution in place of one that ended; it keeps what was done there."""
    request = execution_service_pb2.RetryExecutionRequest(
        name=resource_name("executions", name),
        workflow=resource_name("workflows", workflow) if workflow else "",
        from_step=from_step,
        request_id=request_id or new_id(),
    )
    perform(_retry(request, wait, home, json), as_json=json)


app.command("list")(list_)
app.command("start-batch")(start_batch)
app.add_typer(execution_batches.app, name="batch")
for verb in (cancel, pause, resume, skip, terminate, signal):
    app.command()(verb)
app.command()(export)
app.command("verify")(verify_)


async def _start(
    workflow: str,
    input_file: Path | None,
    input_json: str | None,
    labels: list[str] | None,
    priority: int | None,
    request_id: str,
    wait: bool,
    home: Path,
    json: bool,
) -> int:
    request = execution_service_pb2.StartExecutionRequest(
        workflow=resource_name("workflows", workflow),
        input=read_input(input_file, input_json),
        request_id=request_id or new_id(),
        labels=read_labels(labels),
        priority=priority,
    )
    async with Services.at(home) as services:
        started = await services.call(services.executions.StartExecution, request)
    return await _started(started, wait, home, json)


async def _retry(
    request: execution_service_pb2.RetryExecutionRequest, wait: bool, home: Path, json: bool
) -> int:
    async with Services.at(home) as services:
        started = await services.call(services.executions.RetryExecution, request)
    return await _started(started, wait, home, json)


async def _started(
    started: execution_pb2.WorkflowExecution, wait: bool, home: Path, json: bool
) -> int:
    if wait:
        return await _watch(started.name, home, json)
    if json:
        print_json(as_json(started))
    else:
        show(plain(f"{started.name} of {started.workflow_version}"))
    return 0


async def _watch(name: str, home: Path, json: bool) -> int:
    async with Services.at(home, patience=WATCH_PATIENCE) as services:
        ended = await follow(services, resource_name("executions", name), console(stderr=True))
    _print(ended, json)
    return 0 if ended.state == execution_pb2.WorkflowExecution.STATE_SUCCEEDED else ExitCode.FAILED


async def _show(name: str, home: Path, json: bool) -> None:
    request = execution_service_pb2.GetExecutionRequest(name=resource_name("executions", name))
    async with Services.at(home) as services:
        execution = await services.call(services.executions.GetExecution, request)
    _print(execution, json)


async def _history(name: str, home: Path, json: bool) -> None:
    request = execution_service_pb2.ListHistoryRequest(parent=resource_name("executions", name))
    async with Services.at(home) as services:
        entries = await services.pages(
            services.executions.ListHistory, request, lambda page: page.entries, limit=_MOST_HISTORY
        )
    if json:
        print_json({"entries": [as_json(each) for each in entries]})
    else:
        show(history_table(entries))


def _print(execution: execution_pb2.WorkflowExecution, json: bool) -> None:
    if json:
        print_json(as_json(execution))
    else:
        show(execution_view(execution))
