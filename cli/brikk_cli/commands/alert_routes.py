"""`brikk alert routes`, `explain`, `notices`, `silence` and its like: who is told of alerts."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from brikk.monitoring.v1 import escalation_pb2, notification_pb2, silence_pb2
from brikk_cli.alert_view import alerts_table
from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import parse_duration, parse_message, read_file, to_timestamp
from brikk_cli.options import (
    DEFAULT_HOME,
    AlertArgument,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show
from brikk_cli.session import perform
from brikk_cli.telling_view import (
    explanation_view,
    notices_table,
    routes_view,
    silences_table,
)
from brikk_shared.clock import SystemClock
from brikk_shared.ids import new_id

_OPERATORS: Final = {
    "=~": silence_pb2.Matcher.OPERATOR_MATCHES,
    "!~": silence_pb2.Matcher.OPERATOR_NOT_MATCHES,
    "!=": silence_pb2.Matcher.OPERATOR_NOT_EQUAL,
    "=": silence_pb2.Matcher.OPERATOR_EQUAL,
}
_MATCHER: Final = re.compile(r"([A-Za-z_]\w*)(=~|!~|!=|=)(.*)", re.ASCII | re.DOTALL)
_NOTICES: Final = 10


class NoticeState(StrEnum):
    """What `--state` of notices takes."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


def silence(
    matchers: Annotated[
        list[str],
        typer.Argument(help="What alerts must all match: team=db, agent!=x, agent=~'a.*', !~"),
    ],
    length: Annotated[
        timedelta,
        typer.Option("--for", parser=parse_duration, metavar="DURATION", help="How long."),
    ] = timedelta(hours=1),
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show which alerts that fire it would silence.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Let nobody be told of some alerts for a while."""

    async def work() -> None:
        read = [_read_matcher(each) for each in matchers]
        async with Services.at(home) as services:
            if preview:
                asked = silence_pb2.PreviewSilenceRequest(matchers=read)
                found = await services.call(services.alerting.PreviewSilence, asked)
                if json:
                    print_json(as_json(found))
                else:
                    show(alerts_table(found.alerts))
                return
            request = silence_pb2.CreateSilenceRequest(
                silence=silence_pb2.Silence(
                    matchers=read,
                    end_time=to_timestamp(SystemClock().now() + length),
                    comment=comment,
                ),
                request_id=new_id(),
            )
            made = await services.call(services.alerting.CreateSilence, request)
        _print_silences([made], json)

    perform(work(), as_json=json)


def silences(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List the silences, by name."""

    async def work() -> None:
        async with Services.at(home) as services:
            found = await services.pages(
                services.alerting.ListSilences,
                silence_pb2.ListSilencesRequest(),
                lambda page: page.silences,
                limit=limit,
            )
        _print_silences(found, json)

    perform(work(), as_json=json)


def unsilence(
    name: Annotated[str, typer.Argument(help="ID of the silence, or silences/ID.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Delete a silence."""

    async def work() -> None:
        request = silence_pb2.DeleteSilenceRequest(name=resource_name("silences", name))
        async with Services.at(home) as services:
            answer = await services.call(services.alerting.DeleteSilence, request)
        if json:
            print_json(as_json(answer))
        else:
            show(plain(f"{request.name}: deleted"))

    perform(work(), as_json=json)


def routes(
    file: Annotated[
        Path | None,
        typer.Option("--apply", help="File with the routes as JSON, as --json shows; - for stdin."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show who is told of which alerts, or say it."""

    async def work() -> None:
        tree = escalation_pb2.RoutingTree()
        if file is not None:
            parse_message(read_file(file), str(file), tree)
        async with Services.at(home) as services:
            if file is None:
                request = escalation_pb2.GetRoutingTreeRequest()
                kept = await services.call(services.alerting.GetRoutingTree, request)
            else:
                update = escalation_pb2.UpdateRoutingTreeRequest(routing_tree=tree)
                kept = await services.call(services.alerting.UpdateRoutingTree, update)
        if json:
            print_json(as_json(kept))
        else:
            show(routes_view(kept))

    perform(work(), as_json=json)


def explain(name: AlertArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show who is told of an alert, why nobody is, and who was."""

    async def work() -> None:
        full = resource_name("alerts", name)
        async with Services.at(home) as services:
            explained = await services.call(
                services.alerting.ExplainAlert, escalation_pb2.ExplainAlertRequest(name=full)
            )
            told = await services.call(
                services.alerting.ListNotifications,
                notification_pb2.ListNotificationsRequest(alert=full, page_size=_NOTICES),
            )
        if json:
            notifications = [as_json(each) for each in told.notifications]
            print_json({**as_json(explained), "notifications": notifications})
        else:
            show(explanation_view(explained, told.notifications))

    perform(work(), as_json=json)


def notices(
    states: Annotated[
        list[NoticeState] | None, typer.Option("--state", help="Only these; repeatable.")
    ] = None,
    channel: Annotated[str, typer.Option(help="Only those of this channel.")] = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List what channels were told, and what they were not and why, newest first."""

    async def work() -> None:
        request = notification_pb2.ListNotificationsRequest(
            states=[
                notification_pb2.Notification.State.Value(f"STATE_{each.name}")
                for each in states or ()
            ],
            channel=resource_name("notificationChannels", channel) if channel else "",
        )
        async with Services.at(home) as services:
            found = await services.pages(
                services.alerting.ListNotifications,
                request,
                lambda page: page.notifications,
                limit=limit,
            )
        if json:
            print_json({"notifications": [as_json(each) for each in found]})
        else:
            show(notices_table(found))

    perform(work(), as_json=json)


def _read_matcher(text: str) -> silence_pb2.Matcher:
    found = _MATCHER.fullmatch(text)
    if found is None:
        message = f"{text}: write LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN"
        raise CommandError(message, exit_code=ExitCode.USAGE)
    label, sign, value = found.groups()
    return silence_pb2.Matcher(label=label, operator=_OPERATORS[sign], value=value)


def _print_silences(found: list[silence_pb2.Silence], json: bool) -> None:
    if json:
        print_json({"silences": [as_json(each) for each in found]})
    else:
        show(silences_table(found))
