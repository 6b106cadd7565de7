"""`brikk webhook`: who is told what, and what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_cli import webhook_fields as fields
from brikk_cli.client import Services
from brikk_cli.commands.webhook_deliveries import attempts, deliveries, replay, resend, stats
from brikk_cli.commands.webhook_listening import listen
from brikk_cli.commands.webhook_verbs import disable, enable, pause, resume, rotate, test
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LimitOption,
    WebhookArgument,
    resource_name,
)
from brikk_cli.render import as_json, plain, print_json, show, table
from brikk_cli.session import perform
from brikk_cli.webhook_view import webhook_view, webhooks_table
from brikk_shared.ids import new_id

app = typer.Typer(no_args_is_help=True, help="Have events delivered, and see the deliveries.")


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
    schemes: Annotated[
        list[fields.SignatureScheme] | None,
        typer.Option("--scheme", help="How deliveries are signed; repeatable; v1 if not given."),
    ] = None,
    filter: fields.FilterOption = "",
    channels: fields.ChannelsOption = None,
    payload: fields.PayloadOption = None,
    headers: fields.HeadersOption = None,
    max_rate: fields.RateOption = 0,
    max_in_flight: fields.InFlightOption = 0,
    order_by: fields.OrderOption = "",
    retries: fields.RetriesOption = None,
    keep: fields.KeepOption = None,
    handshake: fields.HandshakeOption = None,
    description: fields.DescriptionOption = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Create a webhook. Its signing secret is shown this one time."""

    async def work() -> None:
        webhook = webhook_pb2.Webhook(
            url=url,
            signature_schemes=[
                webhook_pb2.Webhook.SignatureScheme.Value(f"SIGNATURE_SCHEME_{each.name}")
                for each in schemes or ()
            ],
        )
        fields.choice(webhook, events, filter, channels, payload)
        fields.terms(
            webhook,
            headers,
            max_rate,
            max_in_flight,
            order_by,
            retries,
            keep,
            handshake,
            description,
        )
        request = pb.CreateWebhookRequest(
            webhook_id=webhook_id, webhook=webhook, request_id=new_id()
        )
        async with Services.at(home) as services:
            _print(await services.call(services.webhooks.CreateWebhook, request), json)

    perform(work(), as_json=json)


@app.command()
def update(
    name: WebhookArgument,
    url: Annotated[str, typer.Option(help="Where events are posted from now on.")] = "",
    events: fields.EventsOption = None,
    filter: fields.FilterOption = "",
    channels: fields.ChannelsOption = None,
    payload: fields.PayloadOption = None,
    headers: fields.HeadersOption = None,
    max_rate: fields.RateOption = 0,
    max_in_flight: fields.InFlightOption = 0,
    order_by: fields.OrderOption = "",
    retries: fields.RetriesOption = None,
    keep: fields.KeepOption = None,
    handshake: fields.HandshakeOption = None,
    description: fields.DescriptionOption = "",
    clear: Annotated[
        list[str] | None,
        typer.Option(help="Field that loses its value, like filter or headers; repeatable."),
    ] = None,
    etag: Annotated[str, typer.Option(help="Only if it is still as it was shown.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Change what is given of a webhook; the rest stays. Lists and headers change as a whole."""

    async def work() -> None:
        webhook = webhook_pb2.Webhook(url=url)
        fields.choice(webhook, events, filter, channels, payload)
        fields.terms(
            webhook,
            headers,
            max_rate,
            max_in_flight,
            order_by,
            retries,
            keep,
            handshake,
            description,
        )
        cleared = [*(clear or ()), *(["handshake"] if handshake is False else [])]
        request = pb.UpdateWebhookRequest(
            name=resource_name("webhooks", name),
            webhook=webhook,
            update_mask=_mask(webhook, cleared),
            etag=etag,
        )
        async with Services.at(home) as services:
            _print(await services.call(services.webhooks.UpdateWebhook, request), json)

    perform(work(), as_json=json)


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
def delete(
    name: WebhookArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Delete a webhook with all that was sent to it."""
    perform(_delete(name, home, json), as_json=json)


@app.command()
def types(
    limit: LimitOption = 50, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """List the types of events that there are."""
    perform(_types(limit, home, json), as_json=json)


for command in (
    rotate,
    test,
    pause,
    resume,
    disable,
    enable,
    deliveries,
    attempts,
    resend,
    replay,
    stats,
    listen,
):
    app.command()(command)


async def _list(limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        webhooks = await services.pages(
            services.webhooks.ListWebhooks,
            pb.ListWebhooksRequest(),
            lambda page: page.webhooks,
            limit=limit,
        )
    if json:
        print_json({"webhooks": [as_json(each) for each in webhooks]})
    else:
        show(webhooks_table(webhooks))


async def _show(name: str, home: Path, json: bool) -> None:
    request = pb.GetWebhookRequest(name=resource_name("webhooks", name))
    async with Services.at(home) as services:
        _print(await services.call(services.webhooks.GetWebhook, request), json)


async def _delete(name: str, home: Path, json: bool) -> None:
    request = pb.DeleteWebhookRequest(name=resource_name("webhooks", name))
    async with Services.at(home) as services:
        answer = await services.call(services.webhooks.DeleteWebhook, request)
    if json:
        print_json(as_json(answer))
    else:
        show(plain(f"{request.name}: deleted"))


async def _types(limit: int, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        found = await services.pages(
            services.webhooks.ListEventTypes,
            pb.ListEventTypesRequest(),
            lambda page: page.event_types,
            limit=limit,
        )
    if json:
        print_json({"event_types": [as_json(each) for each in found]})
    else:
        show(table(("event", "tells"), ((each.type, each.description) for each in found)))


def _mask(webhook: webhook_pb2.Webhook, cleared: Sequence[str]) -> FieldMask:
    given = [field.name for field, _ in webhook.ListFields()]
    if not given and not cleared:
        raise CommandError("say what is to change", exit_code=ExitCode.USAGE)
    return FieldMask(paths=[*given, *cleared])


def _print(webhook: webhook_pb2.Webhook, json: bool) -> None:
    if json:
        print_json(as_json(webhook))
    else:
        show(webhook_view(webhook))
