"""`brikk execution cancel`, `pause`, `resume`, `skip`, `terminate`, `signal`: asked of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.execution_view import state_line
from brikk_cli.inputs import parse_value, read_input
from brikk_cli.options import (
    DEFAULT_HOME,
    ExecutionArgument,
    HomeOption,
    JsonOption,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_shared.ids import new_id

ReasonOption = Annotated[str, typer.Option(help="Why, for the history.")]


def cancel(
    name: ExecutionArgument,
    reason: ReasonOption = "",
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Undo what was done, where steps say how.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask for an execution to be cancelled; `watch` shows when it is."""
    request = pb.CancelExecutionRequest(
        name=_full(name), reason=reason, compensate=compensate, request_id=new_id()
    )
    _ask(lambda to: to.call(to.executions.CancelExecution, request), home, json)


def pause(
    name: ExecutionArgument,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask for no further call of an execution, until it is resumed; calls under way end."""
    request = pb.PauseExecutionRequest(name=_full(name), reason=reason, request_id=new_id())
    _ask(lambda to: to.call(to.executions.PauseExecution, request), home, json)


def resume(
    name: ExecutionArgument,
    version: Annotated[
        str,
        typer.Option(
            "--workflow",
            help="What a quarantined one goes on with: workflows/ID/versions/N of its workflow.",
        ),
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask for a paused execution to go on, or for a quarantined one to be tried again."""
    request = pb.ResumeExecutionRequest(
        name=_full(name), workflow_version=version, request_id=new_id()
    )
    _ask(lambda to: to.call(to.executions.ResumeExecution, request), home, json)


def terminate(
    name: ExecutionArgument,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask for the end of an execution at once, whatever state it is in."""
    request = pb.TerminateExecutionRequest(name=_full(name), reason=reason, request_id=new_id())
    _ask(lambda to: to.call(to.executions.TerminateExecution, request), home, json)


def skip(
    name: ExecutionArgument,
    step: Annotated[str, typer.Argument(help="ID of the step.")],
    output_file: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="JSON file with its output; - is stdin."),
    ] = None,
    output_json: Annotated[str | None, typer.Option(help="Its output itself, as JSON.")] = None,
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask an execution to do without a step under way; those after it go on."""
    request = pb.SkipStepRequest(name=_full(name), step=step, reason=reason, request_id=new_id())

    async def ask(to: Services) -> execution_pb2.WorkflowExecution:
        if output_file is not None or output_json is not None:
            request.output.CopyFrom(read_input(output_file, output_json, what="output"))
        return await to.call(to.executions.SkipStep, request)

    _ask(ask, home, json)


def signal(
    name: ExecutionArgument,
    signal: Annotated[str, typer.Argument(help="The name that its steps wait for.")],
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help="What the signal carries, any JSON value.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Send a signal to an execution; it is kept for a step that does not wait for it yet."""
    request = pb.SignalExecutionRequest(name=_full(name), signal=signal, request_id=new_id())
    if data is not None:
        request.data.CopyFrom(parse_value(data, "--data"))
    _ask(lambda to: to.call(to.executions.SignalExecution, request), home, json)


def _full(name: str) -> str:
    return resource_name("executions", name)


def _ask(
    call: Callable[[Services], Awaitable[execution_pb2.WorkflowExecution]], home: Path, json: bool
) -> None:
    async def ask() -> None:
        async with Services.at(home) as services:
            execution = await call(services)
        if json:
            print_json(as_json(execution))
        else:
            show(state_line(execution))

    perform(ask(), as_json=json)
