"""`brikk alert`: what is wrong, and who looks after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import grpc
import typer

from brikk.monitoring.v1 import alert_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_cli.alert_view import alert_line, alert_view, alerts_table
from brikk_cli.client import WATCH_PATIENCE, Services
from brikk_cli.commands.alert_routes import (
    explain,
    notices,
    routes,
    silence,
    silences,
    unsilence,
)
from brikk_cli.commands.alert_rules import apply, delete, preview, rules
from brikk_cli.commands.alert_settings import policies, windows
from brikk_cli.inputs import parse_duration
from brikk_cli.measuring import to_duration
from brikk_cli.options import (
    DEFAULT_HOME,
    AlertArgument,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, print_json, print_json_line, show
from brikk_cli.session import perform

_TRANSITIONS: Final = 20

Request = TypeVar("Request")

app = typer.Typer(no_args_is_help=True, help="See what is wrong, and say who looks after it.")
for command in (
    rules,
    apply,
    delete,
    preview,
    routes,
    explain,
    notices,
    silence,
    silences,
    unsilence,
    windows,
    policies,
):
    app.command()(command)


class State(StrEnum):
    """What `--state` takes."""

    PENDING = "pending"
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


@app.command("list")
def list_(
    states: Annotated[
        list[State] | None,
        typer.Option("--state", help="Only these; repeatable; all but resolved if not given."),
    ] = None,
    rule: Annotated[str, typer.Option(help="Only those of this rule.")] = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List alerts, the last made first."""

    async def work() -> None:
        wanted = states or [each for each in State if each is not State.RESOLVED]
        request = pb.ListAlertsRequest(
            states=[alert_pb2.Alert.State.Value(f"STATE_{each.name}") for each in wanted],
            rule=resource_name("alertRules", rule) if rule else "",
        )
        async with Services.at(home) as services:
            found = await services.pages(
                services.alerting.ListAlerts, request, lambda page: page.alerts, limit=limit
            )
        if json:
            print_json({"alerts": [as_json(each) for each in found]})
        else:
            show(alerts_table(found))

    perform(work(), as_json=json)


@app.command("show")
def show_(name: AlertArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show an alert, and how it changed."""

    async def work() -> None:
        full = resource_name("alerts", name)
        async with Services.at(home) as services:
            alert = await services.call(services.alerting.GetAlert, pb.GetAlertRequest(name=full))
            changes = await services.call(
                services.alerting.ListAlertTransitions,
                pb.ListAlertTransitionsRequest(parent=full, page_size=_TRANSITIONS),
            )
        if json:
            transitions = [as_json(each) for each in changes.transitions]
            print_json({**as_json(alert), "transitions": transitions})
        else:
            show(alert_view(alert, changes.transitions))

    perform(work(), as_json=json)


@app.command()
def ack(name: AlertArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Say that you look after an alert."""
    request = pb.AcknowledgeAlertRequest(name=resource_name("alerts", name))
    _answer(lambda services: services.alerting.AcknowledgeAlert, request, home, json)


@app.command()
def snooze(
    name: AlertArgument,
    length: Annotated[
        timedelta,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="How long."),
    ] = timedelta(hours=1),
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Let nobody be told of an alert for a while."""
    request = pb.SnoozeAlertRequest(
        name=resource_name("alerts", name), duration=to_duration(length)
    )
    _answer(lambda services: services.alerting.SnoozeAlert, request, home, json)


@app.command()
def resolve(name: AlertArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Resolve an alert; it begins anew if its condition still holds."""
    request = pb.ResolveAlertRequest(name=resource_name("alerts", name))
    _answer(lambda services: services.alerting.ResolveAlert, request, home, json)


@app.command()
def watch(
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[
        bool, typer.Option("--json", help="Print each alert that changes as JSON in a line.")
    ] = False,
) -> None:
    """Follow the alerts until Ctrl-C: a line for each that is not resolved, and for each change."""

    async def work() -> None:
        async with Services.at(home, patience=WATCH_PATIENCE) as services:
            async for answer in services.watch_alerts():
                for alert in answer.alerts:
                    if json:
                        print_json_line(as_json(alert))
                    else:
                        show(alert_line(alert))

    perform(work(), as_json=json, print_document=print_json_line)


def _answer(
    method: Callable[[Services], grpc.aio.UnaryUnaryMultiCallable[Request, alert_pb2.Alert]],
    request: Request,
    home: HomeOption,
    json: bool,
) -> None:
    async def work() -> None:
        async with Services.at(home) as services:
            alert = await services.call(method(services), request)
        if json:
            print_json(as_json(alert))
        else:
            show(alert_view(alert))

    perform(work(), as_json=json)
