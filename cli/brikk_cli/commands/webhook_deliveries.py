"""`brikk webhook deliveries`, `attempts`, `resend`, `replay` and `stats`: what was delivered."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from brikk.webhooks.v1 import replay_pb2, webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_cli.client import Services
from brikk_cli.inputs import to_timestamp
from brikk_cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    LimitOption,
    WebhookArgument,
    resource_name,
)
from brikk_cli.render import as_json, print_json, show
from brikk_cli.session import perform
from brikk_cli.webhook_fields import EventsOption
from brikk_cli.webhook_view import attempts_table, deliveries_table, replay_line, stats_view
from brikk_shared.clock import SystemClock
from brikk_shared.ids import new_id

_INTERVAL = timedelta(milliseconds=100)


class DeliveryState(StrEnum):
    """Where a delivery stands, as people write it."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


DeliveryArgument = Annotated[
    str, typer.Argument(help="ID of the delivery, which its `webhook-id` header shows.")
]
SinceOption = Annotated[
    datetime | None, typer.Option(help="Only deliveries that were made from here on.")
]
UntilOption = Annotated[
    datetime | None, typer.Option(help="Only deliveries that were made before.")
]


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


def attempts(
    name: WebhookArgument,
    delivery: DeliveryArgument,
    limit: LimitOption = 50,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the attempts of a delivery, oldest first."""
    perform(_attempts(name, delivery, limit, home, json), as_json=json)


def resend(
    name: WebhookArgument,
    delivery: DeliveryArgument,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Send a delivery again, under its own ID and whatever its state."""
    perform(_resend(name, delivery, home, json), as_json=json)


def replay(
    name: WebhookArgument,
    states: Annotated[
        list[DeliveryState] | None,
        typer.Option("--state", help="Deliveries to take; repeatable; failed if not given."),
    ] = None,
    events: EventsOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not wait until all are made.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make new deliveries of old ones: of dead letters, unless told."""
    request = pb.ReplayDeliveriesRequest(
        name=resource_name("webhooks", name),
        delivery_states=[
            webhook_pb2.Delivery.State.Value(f"STATE_{each.name}") for each in states or ()
        ],
        event_types=events,
        start_time=to_timestamp(since),
        end_time=to_timestamp(until),
        request_id=new_id(),
    )
    perform(_replay(request, detach, home, json), as_json=json)


def stats(
    name: WebhookArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Count how the deliveries of a webhook went, in the last 24 hours unless told."""
    request = pb.GetWebhookStatsRequest(
        name=resource_name("webhooks", name),
        start_time=to_timestamp(since),
        end_time=to_timestamp(until),
    )
    perform(_stats(request, home, json), as_json=json)


async def _deliveries(
    name: str, only: DeliveryState | None, limit: int, home: Path, json: bool
) -> None:
    request = pb.ListDeliveriesRequest(parent=resource_name("webhooks", name))
    if only is not None:
        request.state = webhook_pb2.Delivery.State.Value(f"STATE_{only.name}")
    async with Services.at(home) as services:
        found = await services.pages(
            services.webhooks.ListDeliveries, request, lambda page: page.deliveries, limit=limit
        )
    if json:
        print_json({"deliveries": [as_json(each) for each in found]})
    else:
        show(deliveries_table(found))


async def _attempts(name: str, delivery: str, limit: int, home: Path, json: bool) -> None:
    request = pb.ListAttemptsRequest(parent=_full(name, delivery))
    async with Services.at(home) as services:
        found = await services.pages(
            services.webhooks.ListAttempts, request, lambda page: page.attempts, limit=limit
        )
    if json:
        print_json({"attempts": [as_json(each) for each in found]})
    else:
        show(attempts_table(found))


async def _resend(name: str, delivery: str, home: Path, json: bool) -> None:
    request = pb.ResendDeliveryRequest(name=_full(name, delivery), request_id=new_id())
    async with Services.at(home) as services:
        resent = await services.call(services.webhooks.ResendDelivery, request)
    if json:
        print_json(as_json(resent))
    else:
        show(deliveries_table([resent]))


async def _replay(
    request: pb.ReplayDeliveriesRequest, detach: bool, home: Path, json: bool
) -> None:
    async with Services.at(home) as services:
        replay = await services.call(services.webhooks.ReplayDeliveries, request)
        while not detach and replay.state == replay_pb2.Replay.STATE_RUNNING:
            await SystemClock().sleep(_INTERVAL)
            replay = await services.call(
                services.webhooks.GetReplay, pb.GetReplayRequest(name=replay.name)
            )
    if json:
        print_json(as_json(replay))
    else:
        show(replay_line(replay))


async def _stats(request: pb.GetWebhookStatsRequest, home: Path, json: bool) -> None:
    async with Services.at(home) as services:
        counted = await services.call(services.webhooks.GetWebhookStats, request)
    if json:
        print_json(as_json(counted))
    else:
        show(stats_view(counted))


def _full(name: str, delivery: str) -> str:
    return f"{resource_name('webhooks', name)}/deliveries/{delivery}"
