"""`brikk metrics query`: any question about what was counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from brikk.monitoring.v1 import query_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import parse_duration, to_timestamp
from brikk_cli.measuring import to_duration
from brikk_cli.metrics_view import query_table
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock


class Aggregation(StrEnum):
    """What `--show` takes."""

    COUNT = "count"
    RATE = "rate"
    SUM = "sum"
    MEAN = "mean"
    P50 = "p50"
    P75 = "p75"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    P999 = "p999"
    SUCCESS_RATIO = "success-ratio"
    ATTEMPTS = "attempts"
    TOKENS = "tokens"
    COST_MICROS = "cost-micros"


class Dimension(StrEnum):
    """What `--by` takes."""

    WORKFLOW = "workflow"
    STEP = "step"
    AGENT = "agent"
    CAPABILITY = "capability"
    SERVICE = "service"


def query(
    metric: Annotated[
        str, typer.Argument(help="executions, steps, calls, agents, deliveries or a recorded one.")
    ],
    shown: Annotated[
        list[Aggregation] | None, typer.Option("--show", help="What to reckon; repeatable.")
    ] = None,
    by: Annotated[
        list[Dimension] | None, typer.Option(help="What to tell apart; repeatable.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="Only these, e.g. workflow=triage; repeatable.")
    ] = None,
    window: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back."),
    ] = timedelta(hours=1),
    until: Annotated[
        datetime | None, typer.Option(help="Look back from here; from now if not given.")
    ] = None,
    step: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="Cut it into points of whole minutes, hours or days.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=100, help="Only so many, the busiest.")] = 20,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show beside it what there was in the time before.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print it as CSV.")] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Ask what was counted: in all or step by step, in all or told apart."""

    async def work() -> None:
        end = (until or SystemClock().now()).astimezone()
        request = pb.QueryMetricsRequest(
            metric=metric,
            start_time=to_timestamp(end - window),
            end_time=to_timestamp(until),
            step=None if step is None else to_duration(step),
            aggregations=[pb.Aggregation.Value(f"AGGREGATION_{each.name}") for each in shown or ()],
            group_by=[_dimension(each) for each in by or ()],
            filters=read_filters(where or ()),
            top=top,
            compare=compare,
        )
        async with Services.at(home) as services:
            if csv:
                export = pb.ExportMetricsRequest(
                    query=request, format=pb.ExportMetricsRequest.FORMAT_CSV
                )
                file = await services.call(services.monitoring.ExportMetrics, export)
                sys.stdout.write(file.content.decode())
                return
            answer = await services.call(services.monitoring.QueryMetrics, request)
        if json:
            print_json(as_json(answer))
        else:
            show(query_table(answer, [each.value for each in by or ()]))

    perform(work(), as_json=json)


def _dimension(given: Dimension) -> pb.Dimension.ValueType:
    return pb.Dimension.Value(f"DIMENSION_{given.name}")


def read_filters(given: Sequence[str]) -> list[pb.DimensionFilter]:
    """Filters given as DIMENSION=VALUE; CommandError for what is none."""
    filters = []
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name not in set(Dimension):
            raise CommandError(
                f"--where {each}: write {'|'.join(Dimension)}=VALUE", exit_code=ExitCode.USAGE
            )
        # A name is as good as an id.
        value = value.removeprefix(f"{name}s/")
        filters.append(pb.DimensionFilter(dimension=_dimension(Dimension(name)), value=value))
    return filters
