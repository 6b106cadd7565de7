"""`brikk schedule pause`, `resume`, `trigger` and `backfill`: steering a schedule."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import schedule_pb2
from brikk.workflow.v1 import schedule_service_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.inputs import to_timestamp
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    ScheduleArgument,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show
from brikk_cli.schedule_view import schedule_view
from brikk_cli.session import perform
from brikk_shared.ids import new_id

RequestIdOption = Annotated[
    str, typer.Option(help="The same ID starts the same executions once; made when not given.")
]


def pause(
    name: ScheduleArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it paused.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Let the ticks of a schedule pass without effect until it is resumed."""
    perform(
        _pause(pb.PauseScheduleRequest(name=_full(name), reason=reason), home, json), as_json=json
    )


def resume(
    name: ScheduleArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Let a schedule tick again, from the next tick on."""
    perform(_resume(pb.ResumeScheduleRequest(name=_full(name)), home, json), as_json=json)


def trigger(
    name: ScheduleArgument,
    request_id: RequestIdOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Start an execution of a schedule now."""
    request = pb.TriggerScheduleRequest(name=_full(name), request_id=request_id or new_id())
    perform(_trigger(request, home, json), as_json=json)


def backfill(
    name: ScheduleArgument,
    since: Annotated[datetime, typer.Option(help="The first tick may be this time.")],
    until: Annotated[datetime, typer.Option(help="Every tick is earlier.")],
    together: Annotated[
        bool, typer.Option("--together", help="Start all at once, not one after another.")
    ] = False,
    request_id: RequestIdOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Start an execution for each tick of a window in the past."""
    policies = schedule_pb2.Schedule
    request = pb.BackfillScheduleRequest(
        name=_full(name),
        start_time=to_timestamp(since),
        end_time=to_timestamp(until),
        overlap_policy=(
            policies.OVERLAP_POLICY_ALLOW_ALL if together else policies.OVERLAP_POLICY_BUFFER_ALL
        ),
        request_id=request_id or new_id(),
    )
    perform(_backfill(request, home, json), as_json=json)


async def _pause(request: pb.PauseScheduleRequest, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        _show(await services.call(services.schedules.PauseSchedule, request), json)


async def _resume(request: pb.ResumeScheduleRequest, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        _show(await services.call(services.schedules.ResumeSchedule, request), json)


async def _trigger(request: pb.TriggerScheduleRequest, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        execution = await services.call(services.schedules.TriggerSchedule, request)
    if json:
        print_json(as_json(execution))
    else:
        show(plain(f"{execution.name} of {execution.workflow_version}"))


async def _backfill(request: pb.BackfillScheduleRequest, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        answer = await services.call(services.schedules.BackfillSchedule, request)
    if json:
        print_json(as_json(answer))
    else:
        show(plain(f"{request.name}: {answer.ticks} ticks"))


def _show(schedule: schedule_pb2.Schedule, json: bool) -> None:
    if json:
        print_json(as_json(schedule))
    else:
        show(schedule_view(schedule))


def _full(name: str) -> str:
    return resource_name("schedules", name)
