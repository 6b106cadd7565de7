"""The outbox of a service with a relay to each place that its settings name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import grpc

from brikk.event.v1.event_service_pb2 import PublishResponse
from brikk_shared.application import Application
from brikk_shared.database import Database
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_shared.relay import Publish, Relay, RelayMetrics

GATHERING = timedelta(milliseconds=100)


def relayed_outbox(
    app: Application,
    database: Database,
    leases: Leases,
    *,
    producer: str,
    addresses: Mapping[str, str | None],
) -> Outbox:
    """Gives the outbox, whose relays are loops of the application from now on.

    Args:
        producer: this service, for instance `workflow`.
        addresses: gRPC address by destination; one without an address is told nothing.
    """
    destinations = {name: address for name, address in addresses.items() if address}
    outbox = Outbox(database, source=f"brikk.{producer}", destinations=list(destinations))
    metrics = RelayMetrics(app.telemetry.registry)
    for destination, address in destinations.items():
        relay = Relay(
            database,
            leases,
            outbox,
            producer=producer,
            destination=destination,
            publish=publisher(app.channel(address)),
            metrics=metrics,
            clock=app.clock,
            gathering=GATHERING,
        )
        app.loop(f"relay to {destination}", relay.run)
    return outbox


def publisher(channel: grpc.aio.Channel) -> Publish:
    """Makes `EventService.Publish` of a channel that takes requests as they are serialised."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, PublishResponse] = channel.unary_unary(
        "/brikk.event.v1.EventService/Publish",
        response_deserializer=PublishResponse.FromString,
    )
    return call
