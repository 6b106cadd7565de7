"""`brikk metrics`: what was counted, and how long it took."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from brikk.monitoring.v1 import query_pb2
from brikk_cli.client import Services
from brikk_cli.commands.metrics_query import query
from brikk_cli.commands.metrics_report import health, report
from brikk_cli.commands.metrics_top import top
from brikk_cli.inputs import parse_duration
from brikk_cli.measuring import Measuring
from brikk_cli.metrics_view import agents_table, summary_view, workflows_view
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption, resource_name
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform

app = typer.Typer(no_args_is_help=True, help="See how executions, workflows and agents do.")

_HOUR = timedelta(hours=1)

WindowOption = Annotated[
    timedelta,
    typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back, e.g. 7d."),
]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="Show beside it what there was in the time before.")
]


@app.command()
def summary(
    window: WindowOption = _HOUR,
    compare: CompareOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Sum up executions, steps, calls, agents and deliveries."""

    async def work() -> None:
        async with Services.at(home) as services:
            measuring = Measuring(services=services, window=window, compare=compare)
            summed = await measuring.summary()
            if json:
                print_json(as_json(summed))
                return
            courses = await measuring.courses("executions", 1)
        show(summary_view(summed, courses.get("", ())))

    perform(work(), as_json=json)


@app.command()
def agents(
    window: WindowOption = _HOUR,
    compare: CompareOption = False,
    limit: LimitOption = 20,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show how agents work, the busiest first."""

    async def work() -> None:
        async with Services.at(home) as services:
            measuring = Measuring(services=services, window=window, compare=compare)
            found = await measuring.agents(limit)
            if json:
                print_json({"agents": [as_json(each) for each in found]})
                return
            courses = await measuring.courses("calls", limit, query_pb2.DIMENSION_AGENT)
        show(agents_table(found, courses))

    perform(work(), as_json=json)


@app.command()
def workflows(
    name: Annotated[
        str, typer.Argument(help="ID of one workflow, to be shown with its steps.")
    ] = "",
    window: WindowOption = _HOUR,
    compare: CompareOption = False,
    limit: LimitOption = 20,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show how workflows go, the busiest first."""

    async def work() -> None:
        workflow = resource_name("workflows", name) if name else ""
        async with Services.at(home) as services:
            measuring = Measuring(services=services, window=window, compare=compare)
            found = await measuring.workflows(limit, workflow)
            if json:
                print_json({"workflows": [as_json(each) for each in found]})
                return
            courses = await measuring.courses("executions", limit, query_pb2.DIMENSION_WORKFLOW)
        show(workflows_view(found, courses))

    perform(work(), as_json=json)


app.command()(query)
app.command()(report)
app.command()(health)
app.command()(top)
