"""Options that many commands share, so that they are spelt and explained alike."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_HOME = Path(".brikk")

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="BRIKK_HOME",
        help="Where `brikk up` keeps keys, data and addresses.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Most entries to show.")]

ExecutionArgument = Annotated[str, typer.Argument(help="ID of the execution, or executions/ID.")]
ScheduleArgument = Annotated[str, typer.Argument(help="ID of the schedule, or schedules/ID.")]
WebhookArgument = Annotated[str, typer.Argument(help="ID of the webhook, or webhooks/ID.")]
AlertArgument = Annotated[str, typer.Argument(help="ID of the alert, or alerts/ID.")]
AlertRuleArgument = Annotated[str, typer.Argument(help="ID of the rule, or alertRules/ID.")]
AgentArgument = Annotated[str, typer.Argument(help="ID of the agent, or agents/ID.")]

LabelsOption = Annotated[
    list[str] | None, typer.Option("--label", help="Label of the executions, team=ops; repeatable.")
]
PriorityOption = Annotated[
    int | None, typer.Option(min=0, max=9, help="0 to 9; the highest goes first, 5 is usual.")
]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="Databases instead of SQLite files; {service} stands for the service's name."
    ),
]


class Workers(StrEnum):
    """Who does the work beside the calls."""

    NONE = "none"
    CELERY = "celery"


WorkersOption = Annotated[
    Workers,
    typer.Option(
        help="`celery` starts workers that deliver and make reports; it needs --database-url."
    ),
]


def resource_name(collection: str, given: str) -> str:
    """The full name of a resource that may have been given by its id alone."""
    return given if given.startswith(f"{collection}/") else f"{collection}/{given}"
