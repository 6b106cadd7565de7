"""`brikk metrics top`: what goes on, until Ctrl-C."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from brikk.monitoring.v1 import query_pb2
from brikk_cli.client import WATCH_PATIENCE, Services
from brikk_cli.inputs import parse_duration
from brikk_cli.measuring import Measuring
from brikk_cli.metrics_view import agents_table, summary_view, workflows_view
from brikk_cli.options import DEFAULT_HOME, HomeOption, LimitOption
from brikk_cli.render import as_json, console, plain, print_json_line
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock

_WINDOW = timedelta(minutes=15)
_INTERVAL = timedelta(seconds=2)


def top(
    window: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back."),
    ] = _WINDOW,
    interval: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How often to look."),
    ] = _INTERVAL,
    limit: LimitOption = 10,
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[
        bool, typer.Option("--json", help="Print each look as JSON in a line.")
    ] = False,
) -> None:
    """Show the summary and the busiest workflows and agents, anew every 2 seconds."""
    work = _look_on(window, interval, limit, home, json)
    perform(work, as_json=json, print_document=print_json_line)


async def _look_on(
    window: timedelta, interval: timedelta, limit: int, home: Path, json: bool
) -> None:
    out, clock = console(), SystemClock()
    live = out.is_terminal and not json
    drawn = Live(console=out, auto_refresh=False)
    async with Services.at(home, patience=WATCH_PATIENCE) as services:
        measuring = Measuring(services=services, window=window)
        with drawn if live else nullcontext():
            while True:
                if json:
                    print_json_line(await _document(measuring, limit))
                elif live:
                    drawn.update(await _view(measuring, limit), refresh=True)
                else:
                    out.print(await _view(measuring, limit))
                await clock.sleep(interval)


async def _document(measuring: Measuring, limit: int) -> dict[str, object]:
    summary, workflows, agents = await asyncio.gather(
        measuring.summary(), measuring.workflows(limit), measuring.agents(limit)
    )
    return {
        "summary": as_json(summary),
        "workflows": [as_json(each) for each in workflows],
        "agents": [as_json(each) for each in agents],
    }


async def _view(measuring: Measuring, limit: int) -> RenderableType:
    summary, workflows, agents = await asyncio.gather(
        measuring.summary(), measuring.workflows(limit), measuring.agents(limit)
    )
    in_all, by_workflow, by_agent = await asyncio.gather(
        measuring.courses("executions", 1),
        measuring.courses("executions", limit, query_pb2.DIMENSION_WORKFLOW),
        measuring.courses("calls", limit, query_pb2.DIMENSION_AGENT),
    )
    return Group(
        summary_view(summary, in_all.get("", ())),
        plain(""),
        workflows_view(workflows, by_workflow),
        plain(""),
        agents_table(agents, by_agent),
    )
