"""`brikk webhook`: who is told what, and what was delivered."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk_cli.client import Services
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LimitOption,
    resource_name,
)
from brikk_cli.render import as_json, moment, plain, print_json, show, state, table
from brikk_cli.session import perform
from brikk_shared.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Have events delivered, and see the deliveries.")


class DeliveryState(StrEnum):
    """Where a delivery stands, as people write it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where events are posted: http or https.")],
    events: Annotated[
        list[str],
        typer.Option("--event", help="Type of event; repeatable, may end in .*"),
    ],
    webhook_id: Annotated[
        str, typer.Option("--id", help="ID of the webhook; made by the service when not given.")
    ] = "",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Create a webhook. Its signing secret is shown this one time."""
    webhook = webhook_pb2.Webhook(url=url, event_types=events, description=description)
    perform(_create(webhook_id, webhook, home, json), as_json=json)


@app.command("list")
def list_(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List webhooks, by name."""
    perform(_list(limit, home, json), as_json=json)


@app.command()
def deliveries(
    name: Annotated[str, typer.Argument(help="ID of the webhook, or webhooks/ID.")],
    only: Annotated[
        DeliveryState | None, typer.Option("--state", help="Only deliveries in this state.")
    ] = None,
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the deliveries of a webhook, newest first."""
    perform(_deliveries(name, only, limit, home, json), as_json=json)


async def _create(webhook_id: str, webhook: webhook_pb2.Webhook, home: Path, json: bool) -> None:
    request = webhook_service_pb2.CreateWebhookRequest(
        webhook_id=webhook_id, webhook=webhook, request_id=new_id()
    )
    async with Services.at(home) as services:
        created = await services.call(services.webhooks.CreateWebhook, request)
    if json:
        print_json(as_json(created))
        return
    show(plain(f"{created.name}: {', '.join(created.event_types)} to {created.url}"))
    show(plain(f"secret: {created.secret} (keep it: it is not shown again)"))


async def _list(limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        webhooks = await services.pages(
            services.webhooks.ListWebhooks,
            webhook_service_pb2.ListWebhooksRequest(),
            lambda page: page.webhooks,
            limit=limit,
        )
    if json:
        print_json({"webhooks": [as_json(each) for each in webhooks]})
        return
    rows = (
        (
            each.name,
            each.url,
            ", ".join(each.event_types),
            moment(each.create_time),
            each.description,
        )
        for each in webhooks
    )
    show(table(("webhook", "url", "events", "created", "description"), rows))


async def _deliveries(
    name: str, only: DeliveryState | None, limit: int, home: Path, json: bool
) -> None:
    request = webhook_service_pb2.ListDeliveriesRequest(parent=resource_name("webhooks", name))
    if only is not None:
        request.state = webhook_pb2.Delivery.State.Value(f"STATE_{only.name}")
    async with Services.at(home) as services:
        found = await services.pages(
            services.webhooks.ListDeliveries, request, lambda page: page.deliveries, limit=limit
        )
    if json:
        print_json({"deliveries": [as_json(each) for each in found]})
        return
    rows = (
        (
            each.name.rpartition("/")[2],
            state(webhook_pb2.Delivery.State.Name(each.state)),
            each.event_type,
            each.subject,
            each.attempts,
            each.response_status or "",
            moment(each.create_time),
        )
        for each in found
    )
    columns = ("delivery", "state", "event", "subject", "attempts", "status", "taken in")
    show(table(columns, rows))
