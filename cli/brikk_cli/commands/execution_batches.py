"""`brikk execution batch`: asking something of all executions that match."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from brikk.workflow.v1 import batch_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_cli.batch_view import batch_view, batches_table
from brikk_cli.client import CALL_TIMEOUT, WATCH_PATIENCE, Services
from brikk_cli.commands.execution_listing import (
    ExecutionState,
    LabelOption,
    SinceOption,
    StateOption,
    UntilOption,
    WorkflowOption,
    to_filter,
)
from brikk_cli.commands.execution_verbs import ReasonOption
from brikk_cli.failures import ExitCode
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption, resource_name
from brikk_cli.render import as_json, console, print_json, show
from brikk_cli.session import perform
from brikk_shared.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Ask something of all executions that match.")

_GLANCE = timedelta(seconds=1)

Batch = batch_pb2.Batch
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only count what matches.")]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Follow it to its end; exit code 1 unless all went well.")
]
BatchArgument = Annotated[str, typer.Argument(help="ID of the batch, or batches/ID.")]


def _add(name: str, verb: Batch.Verb.ValueType, what: str) -> None:
    """Adds the command of a verb that has a reason."""

    @app.command(name, help=what)
    def command(
        workflow: WorkflowOption = "",
        state: StateOption = None,
        label: LabelOption = None,
        since: SinceOption = None,
        until: UntilOption = None,
        reason: ReasonOption = "",
        dry_run: DryRunOption = False,
        wait: WaitOption = False,
        home: HomeOption = DEFAULT_HOME,
        json: JsonOption = False,
    ) -> None:
        request = _request(verb, workflow, state, label, since, until, dry_run)
        request.reason = reason
        perform(_ask(request, wait, home, json), as_json=json)


_add("cancel", Batch.VERB_CANCEL, "Cancel executions that have not ended.")
_add("terminate", Batch.VERB_TERMINATE, "End executions at once, whatever state they are in.")
_add("pause", Batch.VERB_PAUSE, "Pause executions that are queued or running.")


@app.command()
def resume(
    workflow: WorkflowOption = "",
    state: StateOption = None,
    label: LabelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Resume executions that are paused or quarantined."""
    request = _request(Batch.VERB_RESUME, workflow, state, label, since, until, dry_run)
    perform(_ask(request, wait, home, json), as_json=json)


@app.command()
def retry(
    workflow: WorkflowOption = "",
    state: StateOption = None,
    label: LabelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Run the newest version of --workflow.")
    ] = False,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Retry executions that failed, were cancelled or terminated."""
    request = _request(Batch.VERB_RETRY, workflow, state, label, since, until, dry_run)
    if newest and not workflow:
        raise typer.BadParameter("--newest needs --workflow")
    if newest:
        request.workflow = request.filter.workflow
    perform(_ask(request, wait, home, json), as_json=json)


@app.command("show")
def show_(name: BatchArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show how far a batch has come, and who refused."""

    async def get() -> None:
        request = pb.GetBatchRequest(name=resource_name("batches", name))
        async with Services.at(home) as services:
            _print(await services.call(services.executions.GetBatch, request), json)

    perform(get(), as_json=json)


@app.command()
def stop(name: BatchArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Stop a batch; what was asked already stays asked."""

    async def end() -> None:
        request = pb.CancelBatchRequest(name=resource_name("batches", name))
        async with Services.at(home) as services:
            _print(await services.call(services.executions.CancelBatch, request), json)

    perform(end(), as_json=json)


@app.command("list")
def list_(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List batches, newest first."""

    async def read() -> None:
        async with Services.at(home) as services:
            batches = await services.pages(
                services.executions.ListBatches,
                pb.ListBatchesRequest(),
                lambda page: page.batches,
                limit=limit,
            )
        if json:
            print_json({"batches": [as_json(each) for each in batches]})
        else:
            show(batches_table(batches))

    perform(read(), as_json=json)


def _request(
    verb: Batch.Verb.ValueType,
    workflow: str,
    state: list[ExecutionState] | None,
    label: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    dry_run: bool,
) -> pb.BatchExecutionsRequest:
    return pb.BatchExecutionsRequest(
        verb=verb,
        filter=to_filter(workflow, state, label, since, until),
        request_id=new_id(),
        validate_only=dry_run,
    )


async def _ask(request: pb.BatchExecutionsRequest, wait: bool, home: Path, json: bool) -> int:
    async with Services.at(home, patience=WATCH_PATIENCE if wait else timedelta(0)) as services:
        batch = await services.call(services.executions.BatchExecutions, request)
        if wait and batch.name:
            batch = await _follow(services, batch)
    _print(batch, json)
    ended_badly = batch.failed or batch.state == Batch.STATE_CANCELLED
    return ExitCode.FAILED if ended_badly else 0


async def _follow(services: Services, batch: batch_pb2.Batch) -> batch_pb2.Batch:
    """Waits for its end; a terminal sees how far it has come."""
    glance = Duration()
    glance.FromTimedelta(_GLANCE)
    request = pb.WaitBatchRequest(name=batch.name, timeout=glance)
    out = console(stderr=True)
    bar = Progress(TextColumn(batch.name), BarColumn(), MofNCompleteColumn(), console=out)
    with bar if out.is_terminal else nullcontext():
        task = bar.add_task("", total=batch.matched)
        while not batch.HasField("end_time"):
            batch = await services.call(
                services.executions.WaitBatch, request, timeout=_GLANCE + CALL_TIMEOUT
            )
            bar.update(task, completed=batch.done + batch.failed)
    return batch


def _print(batch: batch_pb2.Batch, json: bool) -> None:
    if json:
        print_json(as_json(batch))
    else:
        show(batch_view(batch))
