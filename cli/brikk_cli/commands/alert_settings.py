"""`brikk alert windows` and `policies`: maintenance windows, and who is told after whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from brikk.monitoring.v1 import escalation_pb2, silence_pb2
from brikk_cli.client import Services
from brikk_cli.inputs import parse_message, read_file
from brikk_cli.options import DEFAULT_HOME, HomeOption, JsonOption, LimitOption, resource_name
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_cli.telling_view import policies_table, windows_table
from brikk_shared.errors import AlreadyExists

_OUTPUT: Final = ("name", "active", "create_time", "update_time", "etag")

ApplyOption = Annotated[
    Path | None,
    typer.Option("--apply", help="File with what is to be, as --json shows it; - for stdin."),
]
RemoveOption = Annotated[str, typer.Option("--remove", help="ID of one that is to go.")]


def windows(
    file: ApplyOption = None,
    remove: RemoveOption = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the maintenance windows, after they are as a file says."""

    async def work() -> None:
        given = silence_pb2.ListMaintenanceWindowsResponse()
        if file is not None:
            parse_message(read_file(file), str(file), given)
        async with Services.at(home) as services:
            for window in given.maintenance_windows:
                await _apply_window(services, window)
            if remove:
                name = resource_name("maintenanceWindows", remove)
                gone = silence_pb2.DeleteMaintenanceWindowRequest(name=name)
                await services.call(services.alerting.DeleteMaintenanceWindow, gone)
            found = await services.pages(
                services.alerting.ListMaintenanceWindows,
                silence_pb2.ListMaintenanceWindowsRequest(),
                lambda page: page.maintenance_windows,
                limit=limit,
            )
        if json:
            print_json({"maintenance_windows": [as_json(each) for each in found]})
        else:
            show(windows_table(found))

    perform(work(), as_json=json)


def policies(
    file: ApplyOption = None,
    remove: RemoveOption = "",
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the escalation policies, after they are as a file says."""

    async def work() -> None:
        given = escalation_pb2.ListEscalationPoliciesResponse()
        if file is not None:
            parse_message(read_file(file), str(file), given)
        async with Services.at(home) as services:
            for policy in given.escalation_policies:
                await _apply_policy(services, policy)
            if remove:
                name = resource_name("escalationPolicies", remove)
                gone = escalation_pb2.DeleteEscalationPolicyRequest(name=name)
                await services.call(services.alerting.DeleteEscalationPolicy, gone)
            found = await services.pages(
                services.alerting.ListEscalationPolicies,
                escalation_pb2.ListEscalationPoliciesRequest(),
                lambda page: page.escalation_policies,
                limit=limit,
            )
        if json:
            print_json({"escalation_policies": [as_json(each) for each in found]})
        else:
            show(policies_table(found))

    perform(work(), as_json=json)


async def _apply_window(services: Services, window: silence_pb2.MaintenanceWindow) -> None:
    name = resource_name("maintenanceWindows", window.name)
    create = silence_pb2.CreateMaintenanceWindowRequest(
        maintenance_window_id=name.partition("/")[2], maintenance_window=window
    )
    update = silence_pb2.UpdateMaintenanceWindowRequest(
        name=name, maintenance_window=window, update_mask=_everything(window)
    )
    try:
        await services.call(services.alerting.CreateMaintenanceWindow, create)
    except AlreadyExists:
        await services.call(services.alerting.UpdateMaintenanceWindow, update)


async def _apply_policy(services: Services, policy: escalation_pb2.EscalationPolicy) -> None:
    name = resource_name("escalationPolicies", policy.name)
    create = escalation_pb2.CreateEscalationPolicyRequest(
        escalation_policy_id=name.partition("/")[2], escalation_policy=policy
    )
    update = escalation_pb2.UpdateEscalationPolicyRequest(
        name=name, escalation_policy=policy, update_mask=_everything(policy)
    )
    try:
        await services.call(services.alerting.CreateEscalationPolicy, create)
    except AlreadyExists:
        await services.call(services.alerting.UpdateEscalationPolicy, update)


def _everything(message: Message) -> FieldMask:
    fields = message.DESCRIPTOR.fields_by_name
    return FieldMask(paths=[name for name in fields if name not in _OUTPUT])
