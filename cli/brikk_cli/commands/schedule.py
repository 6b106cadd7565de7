"""`brikk schedule`: starting workflows by the calendar or at intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from brikk.workflow.v1 import schedule_pb2
from brikk.workflow.v1 import schedule_service_pb2 as pb
from brikk_cli import schedule_fields as fields
from brikk_cli.client import Services
from brikk_cli.commands.schedule_verbs import backfill, pause, resume, trigger
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LabelsOption,
    LimitOption,
    PriorityOption,
    ScheduleArgument,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show
from brikk_cli.schedule_view import schedule_view, schedules_table
from brikk_cli.session import perform
from brikk_shared.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Start workflows by the calendar or at intervals.")

DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and show what it would be.")
]


@app.command()
def create(
    schedule_id: Annotated[str, typer.Argument(metavar="ID", help="ID of the schedule.")],
    workflow: Annotated[
        str, typer.Option(help="What it starts: ID of the workflow; workflows/ID/versions/N.")
    ],
    cron: fields.CronOption = "",
    zone: fields.ZoneOption = "",
    every: fields.EveryOption = None,
    anchor: fields.AnchorOption = None,
    start: fields.StartOption = None,
    end: fields.EndOption = None,
    input_file: fields.InputOption = None,
    input_json: fields.InputJsonOption = None,
    tick_input: fields.TickInputOption = "",
    label: LabelsOption = None,
    priority: PriorityOption = None,
    jitter: fields.JitterOption = None,
    overlap: fields.OverlapOption = None,
    catchup: fields.CatchupOption = None,
    max_runs: fields.MaxRunsOption = 0,
    pause_on_failure: fields.PauseOnFailureOption = False,
    description: fields.DescriptionOption = "",
    dry_run: DryOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Create a schedule."""

    async def work() -> None:
        schedule = schedule_pb2.Schedule()
        fields.timing(schedule, cron, zone, every, anchor, start, end)
        fields.action(schedule, workflow, input_file, input_json, tick_input, label, priority)
        fields.terms(
            schedule,
            jitter,
            overlap,
            catchup,
            max_runs,
            description,
            pause_on_failure=pause_on_failure,
        )
        request = pb.CreateScheduleRequest(
            schedule_id=schedule_id, schedule=schedule, request_id=new_id(), validate_only=dry_run
        )
        async with Services.at(home) as services:
            _print(await services.call(services.schedules.CreateSchedule, request), json)

    perform(work(), as_json=json)


@app.command()
def update(
    name: ScheduleArgument,
    workflow: Annotated[str, typer.Option(help="What it starts from now on.")] = "",
    cron: fields.CronOption = "",
    zone: fields.ZoneOption = "",
    every: fields.EveryOption = None,
    anchor: fields.AnchorOption = None,
    start: fields.StartOption = None,
    end: fields.EndOption = None,
    input_file: fields.InputOption = None,
    input_json: fields.InputJsonOption = None,
    tick_input: fields.TickInputOption = "",
    label: LabelsOption = None,
    priority: PriorityOption = None,
    jitter: fields.JitterOption = None,
    overlap: fields.OverlapOption = None,
    catchup: fields.CatchupOption = None,
    max_runs: fields.MaxRunsOption = 0,
    pause_on_failure: fields.PauseOnFailureOption = False,
    description: fields.DescriptionOption = "",
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Field that loses its value, like end_time or max_runs; repeatable."),
    ] = None,
    etag: Annotated[str, typer.Option(help="Only if it is still as it was shown.")] = "",
    dry_run: DryOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Change what is given of a schedule; the rest stays."""

    async def work() -> None:
        schedule = schedule_pb2.Schedule()
        fields.timing(schedule, cron, zone, every, anchor, start, end)
        fields.action(schedule, workflow, input_file, input_json, tick_input, label, priority)
        fields.terms(
            schedule,
            jitter,
            overlap,
            catchup,
            max_runs,
            description,
            pause_on_failure=pause_on_failure,
        )
        request = pb.UpdateScheduleRequest(
            name=resource_name("schedules", name),
            schedule=schedule,
            update_mask=_mask(schedule, clear or ()),
            etag=etag,
            validate_only=dry_run,
        )
        async with Services.at(home) as services:
            _print(await services.call(services.schedules.UpdateSchedule, request), json)

    perform(work(), as_json=json)


@app.command("list")
def list_(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List schedules, by name."""
    perform(_list(limit, home, json), as_json=json)


@app.command("show")
def show_(
    name: ScheduleArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Show a schedule with its next ticks and its newest runs."""
    perform(_get(name, home, json), as_json=json)


@app.command()
def delete(
    name: ScheduleArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Delete a schedule; what it started goes on."""
    perform(_delete(name, home, json), as_json=json)


for verb in (pause, resume, trigger, backfill):
    app.command()(verb)


async def _list(limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        schedules = await services.pages(
            services.schedules.ListSchedules,
            pb.ListSchedulesRequest(),
            lambda page: page.schedules,
            limit=limit,
        )
    if json:
        print_json({"schedules": [as_json(each) for each in schedules]})
    else:
        show(schedules_table(schedules))


async def _get(name: str, home: Path, json: bool) -> None:
    request = pb.GetScheduleRequest(name=resource_name("schedules", name))
    async with Services.at(home) as services:
        _print(await services.call(services.schedules.GetSchedule, request), json)


async def _delete(name: str, home: Path, json: bool) -> None:
    request = pb.DeleteScheduleRequest(name=resource_name("schedules", name))
    async with Services.at(home) as services:
        answer = await services.call(services.schedules.DeleteSchedule, request)
    if json:
        print_json(as_json(answer))
    else:
        show(plain(f"{request.name}: deleted"))


def _mask(schedule: schedule_pb2.Schedule, cleared: Sequence[str]) -> FieldMask:
    given = [field.name for field, _ in schedule.ListFields()]
    if not given and not cleared:
        raise CommandError("say what is to change", exit_code=ExitCode.USAGE)
    return FieldMask(paths=[*given, *cleared])


def _print(schedule: schedule_pb2.Schedule, json: bool) -> None:
    if json:
        print_json(as_json(schedule))
    else:
        show(schedule_view(schedule))
