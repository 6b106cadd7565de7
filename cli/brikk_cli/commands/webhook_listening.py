"""`brikk webhook listen`: an endpoint on this machine that verifies and shows what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk_cli import webhook_fields as fields
from brikk_cli.client import Services
from brikk_cli.failures import CommandError, ExitCode
from brikk_cli.options import DEFAULT_HOME, HomeOption
from brikk_cli.render import console, plain, print_json_line
from brikk_cli.session import perform
from brikk_shared.ids import new_id

if TYPE_CHECKING:
    from brikk_cli.receiver import Arrival


def listen(
    events: fields.EventsOption = None,
    filter: fields.FilterOption = "",
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            envvar="BRIKK_WEBHOOK_KEYS",
            help="Secret or public key of a webhook that delivers here already; repeatable.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; a free one if not given.")
    ] = 0,
    count: Annotated[
        int, typer.Option(min=0, help="Stop after so many deliveries; 0 goes on until Ctrl-C.")
    ] = 0,
    home: HomeOption = DEFAULT_HOME,
    json: Annotated[
        bool, typer.Option("--json", help="Print each piece of news as JSON in a line.")
    ] = False,
) -> None:
    """Verify and show what arrives, until Ctrl-C.

    With --event it creates a webhook that delivers to this machine, and deletes it at the end.
    """
    perform(
        _listen(events or [], filter, keys or [], port, count, home, json),
        as_json=json,
        print_document=print_json_line,
    )


async def _listen(
    events: list[str],
    filter: str,
    keys: list[str],
    port: int,
    count: int,
    home: Path,
    json: bool,
) -> None:
    # Here, because loading what serves HTTP takes longer than most commands.
    from brikk_cli.receiver import Receiver

    if bool(events) == bool(keys):
        raise CommandError(
            "give --event for a webhook of its own, or the --key of one that there is",
            exit_code=ExitCode.USAGE,
        )
    news = _News(count, json)
    async with Receiver(
        keys, port=port, arrived=news.arrived, turned_away=news.turned_away
    ) as receiver:
        if keys:
            news.listening(receiver.url)
            await news.enough.wait()
            return
        webhook = webhook_pb2.Webhook(
            url=receiver.url,
            secret=receiver.secret,
            event_types=events,
            filter=filter,
            description="brikk webhook listen",
        )
        async with Services.at(home) as services, _temporary(services, webhook) as name:
            news.listening(receiver.url, name)
            await news.enough.wait()


@asynccontextmanager
async def _temporary(services: Services, webhook: webhook_pb2.Webhook) -> AsyncIterator[str]:
    """A webhook that is there until the block ends."""
    created = await services.call(
        services.webhooks.CreateWebhook,
        pb.CreateWebhookRequest(webhook=webhook, request_id=new_id()),
    )
    try:
        yield created.name
    finally:
        await services.call(
            services.webhooks.DeleteWebhook, pb.DeleteWebhookRequest(name=created.name)
        )


class _News:
    """What is said of what arrives."""

    def __init__(self, count: int, json: bool) -> None:
        self.enough = asyncio.Event()
        self._left = count
        self._json = json
        self._out = console()

    def listening(self, url: str, webhook: str = "") -> None:
        if self._json:
            print_json_line({"listening": url, "webhook": webhook})
        else:
            self._say(f"listening on {url}" + (f" for {webhook}" if webhook else ""))

    def arrived(self, arrival: Arrival) -> None:
        if self._json:
            print_json_line({"webhook_id": arrival.webhook_id, "event": arrival.event})
        else:
            event = arrival.event
            self._say(
                f"{event.get('time', '')} {event.get('type', '')} {event.get('subject', '')}"
                f" {arrival.webhook_id} verified"
            )
        self._left -= 1
        if self._left == 0:
            self.enough.set()

    def turned_away(self, why: str) -> None:
        if self._json:
            print_json_line({"refused": why})
        else:
            self._say(f"refused: {why}")

    def _say(self, line: str) -> None:
        self._out.print(plain(line), soft_wrap=True)
