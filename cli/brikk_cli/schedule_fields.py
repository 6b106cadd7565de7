"""The options by which commands say what a schedule is to be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.workflow.v1 import schedule_pb2 as pb
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import parse_duration, read_input, read_labels, to_timestamp
from brikk_cli.options import resource_name


class OverlapPolicy(StrEnum):
    """What becomes of a tick while an earlier run has not ended, as people write it."""

    SKIP = "skip"
    BUFFER_ONE = "buffer-one"
    BUFFER_ALL = "buffer-all"
    CANCEL_OTHER = "cancel-other"
    ALLOW_ALL = "allow-all"


CronOption = Annotated[
    str, typer.Option(help="Minute, hour, day of month, month, day of week: '30 2 * * MON-FRI'.")
]
ZoneOption = Annotated[
    str, typer.Option(help="IANA zone of --cron, like Europe/Berlin; UTC when not given.")
]
EveryOption = Annotated[
    timedelta | None,
    typer.Option(parser=parse_duration, metavar="DURATION", help="Instead: from tick to tick."),
]
AnchorOption = Annotated[datetime | None, typer.Option(help="A time that is a tick of --every.")]
InputOption = Annotated[
    Path | None, typer.Option("--input", metavar="FILE", help="JSON file; - is stdin.")
]
InputJsonOption = Annotated[str | None, typer.Option(help="The input itself, as JSON.")]
TickInputOption = Annotated[
    str, typer.Option(help="Member of the input that is set to the tick's time.")
]
StartOption = Annotated[datetime | None, typer.Option(help="No tick is earlier.")]
EndOption = Annotated[datetime | None, typer.Option(help="Every tick is earlier.")]
JitterOption = Annotated[
    timedelta | None,
    typer.Option(
        parser=parse_duration, metavar="DURATION", help="Spread the starts over so much after it."
    ),
]
OverlapOption = Annotated[
    OverlapPolicy | None, typer.Option(help="What a tick does while an earlier run goes on.")
]
CatchupOption = Annotated[
    timedelta | None,
    typer.Option(
        parser=parse_duration, metavar="DURATION", help="How long a missed tick is made up for."
    ),
]
MaxRunsOption = Annotated[int, typer.Option(min=0, help="Most runs in all; 0 for any number.")]
PauseOnFailureOption = Annotated[
    bool, typer.Option("--pause-on-failure", help="Pause it once a run has failed.")
]
DescriptionOption = Annotated[str, typer.Option(help="What it is for.")]


def timing(
    schedule: pb.Schedule,
    cron: str,
    zone: str,
    every: timedelta | None,
    anchor: datetime | None,
    start: datetime | None,
    end: datetime | None,
) -> None:
    """Fills in when it ticks, as far as that is given."""
    if cron and every is not None:
        raise _refused("give --cron or --every, not both")
    if zone and not cron:
        raise _refused("--zone goes with --cron")
    if anchor is not None and every is None:
        raise _refused("--anchor goes with --every")
    if cron:
        schedule.cron.expression, schedule.cron.time_zone = cron, zone
    if every is not None:
        schedule.interval.every.FromTimedelta(every)
    for field, moment in (
        (schedule.interval.anchor, anchor),
        (schedule.start_time, start),
        (schedule.end_time, end),
    ):
        if (timestamp := to_timestamp(moment)) is not None:
            field.CopyFrom(timestamp)


def action(
    schedule: pb.Schedule,
    workflow: str,
    input_file: Path | None,
    input_json: str | None,
    tick_input: str,
    labels: Sequence[str] | None,
    priority: int | None,
) -> None:
    """Fills in what it starts, as far as that is given."""
    if workflow:
        schedule.workflow = resource_name("workflows", workflow)
    if input_file is not None or input_json is not None:
        schedule.input.CopyFrom(read_input(input_file, input_json))
    schedule.tick_input = tick_input
    schedule.labels.update(read_labels(labels))
    if priority is not None:
        schedule.priority = priority


def terms(
    schedule: pb.Schedule,
    jitter: timedelta | None,
    overlap: OverlapPolicy | None,
    catchup: timedelta | None,
    max_runs: int,
    description: str,
    *,
    pause_on_failure: bool,
) -> None:
    """Fills in how it goes about its ticks, as far as that is given."""
    for field, duration in ((schedule.jitter, jitter), (schedule.catchup_window, catchup)):
        if duration is not None:
            field.FromTimedelta(duration)
    if overlap is not None:
        name = f"OVERLAP_POLICY_{overlap.name}"
        schedule.overlap_policy = pb.Schedule.OverlapPolicy.Value(name)
    schedule.max_runs = max_runs
    schedule.pause_on_failure = pause_on_failure
    schedule.description = description


def _refused(message: str) -> CommandError:
    return CommandError(message, exit_code=ExitCode.USAGE)
