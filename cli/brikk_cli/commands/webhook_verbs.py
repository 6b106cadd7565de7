"""`brikk webhook rotate`, `test`, `pause`, `resume`, `disable` and `enable`: steering a webhook."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import grpc
import typer

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.failures import ExitCode
from brikk_cli.inputs import parse_duration
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    WebhookArgument,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_cli.webhook_view import attempts_table, deliveries_table, webhook_view
from brikk_shared.clock import SystemClock
from brikk_shared.ids import new_id

_INTERVAL = timedelta(milliseconds=100)

Request = TypeVar("Request")


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
    request = pb.RotateWebhookSecretRequest(name=_full(name), request_id=new_id())
    if overlap is not None:
        request.overlap.FromTimedelta(overlap)
    perform(
        _call(lambda services: services.webhooks.RotateWebhookSecret, request, home, json),
        as_json=json,
    )


def test(
    name: WebhookArgument,
    wait: Annotated[
        timedelta,
        typer.Option(parser=parse_duration, metavar="DURATION", help="How long to wait for it."),
    ] = timedelta(seconds=30),
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Send a test event and say what the endpoint answered; 1 when it did not take it."""
    perform(_test(name, wait, home, json), as_json=json)


def pause(
    name: WebhookArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it paused.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Keep the deliveries of a webhook until it is resumed."""
    request = pb.PauseWebhookRequest(name=_full(name), reason=reason)
    perform(
        _call(lambda services: services.webhooks.PauseWebhook, request, home, json), as_json=json
    )


def resume(
    name: WebhookArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Deliver what was kept, and what comes."""
    request = pb.ResumeWebhookRequest(name=_full(name))
    perform(
        _call(lambda services: services.webhooks.ResumeWebhook, request, home, json), as_json=json
    )


def disable(
    name: WebhookArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it disabled.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Cancel the deliveries of a webhook, and make none until it is enabled."""
    request = pb.DisableWebhookRequest(name=_full(name), reason=reason)
    perform(
        _call(lambda services: services.webhooks.DisableWebhook, request, home, json), as_json=json
    )


def enable(
    name: WebhookArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False
) -> None:
    """Deliver what comes; what was cancelled is sent again on request."""
    request = pb.EnableWebhookRequest(name=_full(name))
    perform(
        _call(lambda services: services.webhooks.EnableWebhook, request, home, json), as_json=json
    )


async def _call(
    method: Callable[[Services], grpc.aio.UnaryUnaryMultiCallable[Request, webhook_pb2.Webhook]],
    request: Request,
    home: Path,
    json: bool,
) -> None:
    async with Services.at(home) as services:
        webhook = await services.call(method(services), request)
    if json:
        print_json(as_json(webhook))
    else:
        show(webhook_view(webhook))


async def _test(name: str, wait: timedelta, home: Path, json: bool) -> int:
    clock = SystemClock()
    give_up = clock.monotonic() + wait.total_seconds()
    async with Services.at(home) as services:
        delivery = await services.call(
            services.webhooks.SendTestEvent,
            pb.SendTestEventRequest(name=_full(name), request_id=new_id()),
        )
        while not delivery.attempts and clock.monotonic() < give_up:
            await clock.sleep(_INTERVAL)
            delivery = await services.call(
                services.webhooks.GetDelivery, pb.GetDeliveryRequest(name=delivery.name)
            )
        attempts = await services.pages(
            services.webhooks.ListAttempts,
            pb.ListAttemptsRequest(parent=delivery.name),
            lambda page: page.attempts,
            limit=1,
        )
    if json:
        print_json(
            {"delivery": as_json(delivery), "attempts": [as_json(each) for each in attempts]}
        )
    else:
        show(deliveries_table([delivery]))
        show(attempts_table(attempts))
    taken = delivery.state == webhook_pb2.Delivery.STATE_DELIVERED
    return 0 if taken else ExitCode.FAILED


def _full(name: str) -> str:
    return resource_name("webhooks", name)
