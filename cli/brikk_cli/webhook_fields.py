"""The options by which commands say what a webhook is to be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from brikk.webhooks.v1 import webhook_pb2 as pb
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.inputs import parse_duration


class SignatureScheme(StrEnum):
    """How deliveries are signed, as their header names it."""

    V1 = "v1"
    V1A = "v1a"


class Payload(StrEnum):
    """How much of an event is sent, as people write it."""

    FULL = "full"
    THIN = "thin"


EventsOption = Annotated[
    list[str] | None,
    typer.Option("--event", help="Type of event; repeatable, may end in .*"),
]
FilterOption = Annotated[
    str, typer.Option("--filter", help="""Condition in CEL: 'event.data.workflow == "triage"'.""")
]
ChannelsOption = Annotated[
    list[str] | None,
    typer.Option("--channel", help="Only events that name it in data.channels; repeatable."),
]
PayloadOption = Annotated[
    Payload | None, typer.Option(help="thin leaves out the data of events; full if not given.")
]
HeadersOption = Annotated[
    list[str] | None,
    typer.Option("--header", help="Header of each request, 'Name: value'; repeatable."),
]
RateOption = Annotated[int, typer.Option("--max-rate", min=0, help="Most requests per minute.")]
InFlightOption = Annotated[
    int, typer.Option("--max-in-flight", min=0, help="Most requests under way at once.")
]
OrderOption = Annotated[
    str,
    typer.Option(
        "--order-by", help="One after the other where this is the same: subject, data.order.id."
    ),
]
RetriesOption = Annotated[
    list[timedelta] | None,
    typer.Option(
        "--retry",
        parser=parse_duration,
        metavar="DURATION",
        help="Wait before the next attempt; repeat it for each one.",
    ),
]
KeepOption = Annotated[
    timedelta | None,
    typer.Option(
        "--keep", parser=parse_duration, metavar="DURATION", help="How long bodies are kept."
    ),
]
HandshakeOption = Annotated[
    bool | None,
    typer.Option("--handshake/--no-handshake", help="Ask the endpoint by OPTIONS first."),
]
DescriptionOption = Annotated[str, typer.Option(help="What it is for.")]


def choice(
    webhook: pb.Webhook,
    events: Sequence[str] | None,
    filter: str,
    channels: Sequence[str] | None,
    payload: Payload | None,
) -> None:
    """Fills in which events are sent, and how much of them, as far as that is given."""
    webhook.event_types.extend(events or ())
    webhook.filter = filter
    webhook.channels.extend(channels or ())
    if payload is not None:
        webhook.payload_mode = pb.Webhook.PayloadMode.Value(f"PAYLOAD_MODE_{payload.name}")


def terms(
    webhook: pb.Webhook,
    headers: Sequence[str] | None,
    max_rate: int,
    max_in_flight: int,
    order_by: str,
    retries: Sequence[timedelta] | None,
    keep: timedelta | None,
    handshake: bool | None,
    description: str,
) -> None:
    """Fills in how they are sent, as far as that is given."""
    webhook.headers.update(_read_headers(headers or ()))
    webhook.max_rate, webhook.max_in_flight = max_rate, max_in_flight
    webhook.ordering_key = order_by
    for wait in retries or ():
        webhook.retry_schedule.add().FromTimedelta(wait)
    if keep is not None:
        webhook.payload_retention.FromTimedelta(keep)
    webhook.handshake = bool(handshake)
    webhook.description = description


def _read_headers(headers: Sequence[str]) -> dict[str, str]:
    read = {}
    for number, header in enumerate(headers, 1):
        name, colon, value = header.partition(":")
        if not colon:
            # It may be a secret, so it is not repeated.
            raise CommandError(
                f"--header number {number}: write 'Name: value'", exit_code=ExitCode.USAGE
            )
        read[name.strip()] = value.strip()
    return read
