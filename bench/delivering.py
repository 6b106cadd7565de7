"""A whole suite whose webhooks service is given events, and what that costs it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import grpc
import psutil
from prometheus_client.parser import text_string_to_metric_families

from bench.suite import started_suite
from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishItem, PublishRequest
from brikk.event.v1.event_service_pb2_grpc import EventServiceStub
from brikk.webhooks.v1 import webhook_pb2
from brikk.webhooks.v1 import webhook_service_pb2 as pb
from brikk.webhooks.v1.webhook_service_pb2_grpc import WebhookServiceStub
from brikk_cli.keys import AUDIENCE, LOCAL_ORGANIZATION, make_keys
from brikk_cli.plan import valkey_url
from brikk_cli.suite import Suite
from brikk_shared.event import make_event
from brikk_shared.identity import INTERNAL_SCOPE
from brikk_shared.ids import new_id
from brikk_shared.signing import TokenSigner
from brikk_shared.testing import bearer

_UNLIMITED = {f"BRIKK_WEBHOOKS_{knob}": "1000000" for knob in ("RATE_LIMIT", "RATE_BURST")}


class Delivering:
    """The webhooks service of a suite."""

    def __init__(self, suite: Suite, channel: grpc.aio.Channel) -> None:
        self._suite = suite
        self._events = EventServiceStub(channel)
        self._webhooks = WebhookServiceStub(channel)
        self._keys = make_keys(suite.home.keys)
        token = TokenSigner.from_file(self._keys.internal).mint(
            subject="services/bench",
            scopes=[INTERNAL_SCOPE],
            audience=AUDIENCE,
            lifetime=timedelta(hours=1),
        )
        self._internal = bearer(token)
        self._generation = new_id()
        self._position = 0

    @property
    def valkey_url(self) -> str:
        """Where the suite's Valkey is."""
        return valkey_url(self._keys, self._suite.ports)

    async def create(self, url: str, event_type: str) -> None:
        """Adds a webhook for one type of event."""
        webhook = webhook_pb2.Webhook(url=url, event_types=[event_type])
        await self._webhooks.CreateWebhook(
            pb.CreateWebhookRequest(webhook=webhook),
            metadata=bearer(self._suite.token()),
            timeout=10,
        )

    async def publish(self, *events: Event) -> float:
        """Publishes a batch, of which each event goes to one webhook; gives the ms it took."""
        first = self._position + 1
        self._position += len(events)
        request = PublishRequest(
            producer="bench",
            generation=self._generation,
            items=[PublishItem(position=n, event=event) for n, event in enumerate(events, first)],
        )
        begun = time.perf_counter()
        await self._events.Publish(request, metadata=self._internal, timeout=60)
        return (time.perf_counter() - begun) * 1000

    async def delivered(self, *, but: int = 0) -> None:
        """Returns once all that was published, but so many, is logged as delivered."""
        while True:
            if await self._count_delivered() >= self._position - but:
                return
            # To be asked costs the service a millisecond or two.
            await asyncio.sleep(0.1)

    def cpu(self) -> float:
        """Returns the seconds of processor that the service has used."""
        times = psutil.Process(self._suite.pid("webhooks")).cpu_times()
        return times.user + times.system

    async def _count_delivered(self) -> float:
        url = f"http://{self._suite.http_addresses['webhooks']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            families = text_string_to_metric_families(await response.text())
            return sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == "brikk_webhooks_attempts_total"
                and sample.labels["outcome"] == "delivered"
            )


def new_event(event_type: str) -> Event:
    """Makes an event that tells when it was made."""
    return make_event(
        source="brikk.bench",
        type=event_type,
        subject="executions/7f3a",
        organization=LOCAL_ORGANIZATION,
        sequence=1,
        time=datetime.now(UTC),
        data={"workflow": "triage", "version": 1, "sent_at": time.time()},
    )


@asynccontextmanager
async def delivering() -> AsyncIterator[Delivering]:
    """Starts a suite on PostgreSQL."""
    async with (
        started_suite("postgresql", _UNLIMITED) as (suite, _),
        grpc.aio.insecure_channel(suite.addresses["webhooks"]) as channel,
    ):
        yield Delivering(suite, channel)
