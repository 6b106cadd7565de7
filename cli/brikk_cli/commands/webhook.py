"""`brikk webhook`: who is told what, and what was delivered."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.webhooks.v1 import webhook_pb2, webhook_service_pb2
from brikk_cli.client import Services
from brikk_cli.inputs import parse_duration
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


class SignatureScheme(StrEnum):
    """How deliveries are signed, as their header names it."""

    V1 = "v1"
    V1A = "v1a"


WebhookArgument = Annotated[str, typer.Argument(help="ID of the webhook, or webhooks/ID.")]


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
    schemes: Annotated[
        list[SignatureScheme] | None,
        typer.Option("--scheme", help="How deliveries are signed; repeatable; v1 if not given."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Create a webhook. Its signing secret is shown this one time."""
    webhook = webhook_pb2.Webhook(
        url=url,
        event_types=events,
        description=description,
        signature_schemes=[
            webhook_pb2.Webhook.SignatureScheme.Value(f"SIGNATURE_SCHEME_{each.name}")
            for each in schemes or ()
        ],
    )
    perform(_create(webhook_id, webhook, home, json), as_json=json)


@app.command("list")
def list_(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List webhooks, by name."""
    perform(_list(limit, home, json), as_json=json)


@app.command("show")
def show_(name: WebhookArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show a webhook with the public keys that verify its deliveries."""
    perform(_show(name, home, json), as_json=json)


@app.command()
def rotate(
    name: WebhookArgument,
    overlap: Annotated[
        timedelta | None,
        typer.Option(
            parser=parse_duration,
            metavar="DURATION",
            help="How long the replaced keys sign too, 7d at most; 24h if not given.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Replace the keys of a webhook. The new signing secret is shown this one time."""
    perform(_rotate(name, overlap, home, json), as_json=json)


@app.command()
def deliveries(
    name: WebhookArgument,
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
    _print(created, json)


async def _show(name: str, home: Path, json: bool) -> None:
    request = webhook_service_pb2.GetWebhookRequest(name=resource_name("webhooks", name))
    async with Services.at(home) as services:
        _print(await services.call(services.webhooks.GetWebhook, request), json)


async def _rotate(name: str, overlap: timedelta | None, home: Path, json: bool) -> None:
    request = webhook_service_pb2.RotateWebhookSecretRequest(
        name=resource_name("webhooks", name), request_id=new_id()
    )
    if overlap is not None:
        request.overlap.FromTimedelta(overlap)
    async with Services.at(home) as services:
        _print(await services.call(services.webhooks.RotateWebhookSecret, request), json)


def _print(webhook: webhook_pb2.Webhook, json: bool) -> None:
    if json:
        print_json(as_json(webhook))
        return
    show(plain(f"{webhook.name}: {', '.join(webhook.event_types)} to {webhook.url}"))
    if webhook.secret:
        show(plain(f"secret: {webhook.secret} (keep it: it is not shown again)"))
    rows = (
        (
            each.version,
            webhook_pb2.Webhook.SignatureScheme.Name(each.scheme).rpartition("_")[2].lower(),
            each.public_key,
            moment(each.expire_time) if each.HasField("expire_time") else "",
        )
        for each in webhook.signing_keys
    )
    show(table(("key", "signs", "public key", "until"), rows))


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
