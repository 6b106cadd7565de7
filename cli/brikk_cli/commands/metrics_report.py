"""`brikk metrics report` and `brikk metrics health`: what takes long, and what is for operators."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from brikk.monitoring.v1 import health_pb2
from brikk.monitoring.v1 import report_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.home import Home
from brikk_cli.inputs import parse_duration
from brikk_cli.keys import Keys, user_token
from brikk_cli.measuring import to_duration
from brikk_cli.metrics_view import health_view, reports_table
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption, resource_name
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock
from brikk_shared.identity import SYSTEM_ORGANIZATION
from brikk_shared.ids import new_id

_KINDS = {
    name.removeprefix("KIND_").lower(): number for name, number in pb.Report.Kind.items() if number
}
_LOOK = timedelta(milliseconds=200)
_PATIENCE = timedelta(seconds=30)
_TOKEN_LIFETIME = timedelta(minutes=5)


def report(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[KIND|REPORT]",
            help="agents, workflows, steps or capabilities; or the ID of a report that was made.",
        ),
    ] = "",
    window: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back."),
    ] = timedelta(days=1),
    limit: LimitOption = 20,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print a report as CSV, once it is made; without KIND, list the reports there are."""

    async def work() -> None:
        async with Services.at(home, patience=_PATIENCE) as services:
            if not what:
                reports = await services.pages(
                    services.monitoring.ListReports,
                    pb.ListReportsRequest(),
                    lambda page: page.reports,
                    limit=limit,
                )
                if json:
                    print_json({"reports": [as_json(each) for each in reports]})
                else:
                    show(reports_table(reports))
                return
            name = resource_name("reports", what)
            if what in _KINDS:
                name = await _order(services, _KINDS[what], window)
            made = await _made(services, name)
        if json:
            print_json(as_json(made) | {"content": made.content.decode()})
        else:
            sys.stdout.write(made.content.decode())

    perform(work(), as_json=json)


async def _order(services: Services, kind: pb.Report.Kind.ValueType, window: timedelta) -> str:
    request = pb.CreateReportRequest(
        report=pb.Report(kind=kind, window=to_duration(window)), request_id=new_id()
    )
    return (await services.call(services.monitoring.CreateReport, request)).name


async def _made(services: Services, name: str) -> pb.Report:
    clock = SystemClock()
    while True:
        found = await services.call(services.monitoring.GetReport, pb.GetReportRequest(name=name))
        if found.state != pb.Report.STATE_PENDING:
            return found
        await clock.sleep(_LOOK)


def health(
    window: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back."),
    ] = timedelta(minutes=5),
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show operators how the services are; BRIKK_TOKEN or the home folder proves who asks."""

    async def work() -> None:
        async with Services.at(home, token=_operator_token(home)) as services:
            request = health_pb2.GetSystemHealthRequest(window=to_duration(window))
            found = await services.call(services.monitoring.GetSystemHealth, request)
        if json:
            print_json(as_json(found))
        else:
            show(health_view(found))

    perform(work(), as_json=json)


def _operator_token(home: Path) -> str | None:
    """Who has the key that signs the tokens of the suite is its operator."""
    key = Keys(folder=Home(home).keys).user
    if os.environ.get("BRIKK_TOKEN") or not key.exists():
        return None
    return user_token(
        key,
        organization=SYSTEM_ORGANIZATION,
        scopes=("metrics.read", "admin"),
        subject="users/operator",
        lifetime=_TOKEN_LIFETIME,
    )
