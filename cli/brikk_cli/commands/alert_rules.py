"""`brikk alert rules`, `apply`, `delete` and `preview`: what alerts, and what would have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from brikk.monitoring.v1 import alert_rule_pb2
from brikk.monitoring.v1 import alerting_service_pb2 as pb
from brikk_cli.alert_view import preview_table, rules_table
from brikk_cli.client import Services
from brikk_cli.inputs import parse_duration, parse_message, read_file, to_timestamp
from brikk_cli.options import (
    DEFAULT_HOME,
    AlertRuleArgument,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show
from brikk_cli.session import perform
from brikk_shared.clock import SystemClock
from brikk_shared.errors import AlreadyExists
from brikk_shared.ids import new_id

_OUTPUT: Final = ("name", "create_time", "update_time", "etag")

FileArgument = Annotated[
    Path, typer.Argument(help="File with the rule as JSON, as --json shows it; - for stdin.")
]


def rules(
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Switch on the default rules before.")
    ] = False,
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the rules, by name."""

    async def work() -> None:
        async with Services.at(home) as services:
            if defaults:
                request = pb.CreateDefaultAlertRulesRequest()
                await services.call(services.alerting.CreateDefaultAlertRules, request)
            found = await services.pages(
                services.alerting.ListAlertRules,
                pb.ListAlertRulesRequest(),
                lambda page: page.alert_rules,
                limit=limit,
            )
        _print_rules(found, json)

    perform(work(), as_json=json)


def apply(
    name: AlertRuleArgument,
    file: FileArgument,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Create a rule, or have it say what the file says."""

    async def work() -> None:
        rule = _read(file)
        full = resource_name("alertRules", name)
        async with Services.at(home) as services:
            try:
                create = pb.CreateAlertRuleRequest(
                    alert_rule_id=full.removeprefix("alertRules/"),
                    alert_rule=rule,
                    request_id=new_id(),
                )
                kept = await services.call(services.alerting.CreateAlertRule, create)
            except AlreadyExists:
                paths = [each for each in rule.DESCRIPTOR.fields_by_name if each not in _OUTPUT]
                update = pb.UpdateAlertRuleRequest(
                    name=full, alert_rule=rule, update_mask=FieldMask(paths=paths)
                )
                kept = await services.call(services.alerting.UpdateAlertRule, update)
        _print_rules([kept], json)

    perform(work(), as_json=json)


def delete(
    name: AlertRuleArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Delete a rule, and resolve its alerts."""

    async def work() -> None:
        request = pb.DeleteAlertRuleRequest(name=resource_name("alertRules", name))
        async with Services.at(home) as services:
            answer = await services.call(services.alerting.DeleteAlertRule, request)
        if json:
            print_json(as_json(answer))
        else:
            show(plain(f"{request.name}: deleted"))

    perform(work(), as_json=json)


def preview(
    file: FileArgument,
    window: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How far to look back."),
    ] = timedelta(hours=1),
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what a rule would have found; nothing is kept."""

    async def work() -> None:
        request = pb.PreviewRuleRequest(
            alert_rule=_read(file), start_time=to_timestamp(SystemClock().now() - window)
        )
        async with Services.at(home) as services:
            answer = await services.call(services.alerting.PreviewRule, request)
        if json:
            print_json(as_json(answer))
        else:
            show(preview_table(answer))

    perform(work(), as_json=json)


def _read(file: Path) -> alert_rule_pb2.AlertRule:
    rule = alert_rule_pb2.AlertRule()
    parse_message(read_file(file), str(file), rule)
    return rule


def _print_rules(found: list[alert_rule_pb2.AlertRule], json: bool) -> None:
    if json:
        print_json({"alert_rules": [as_json(each) for each in found]})
    else:
        show(rules_table(found))
