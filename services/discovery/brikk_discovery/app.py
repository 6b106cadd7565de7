"""Puts the discovery service together and runs it."""

from __future__ import annotations

from brikk.discovery.v1 import discovery_service_pb2
from brikk.discovery.v1.discovery_service_pb2_grpc import add_DiscoveryServiceServicer_to_server
from brikk_discovery.api.candidates import candidate_message
from brikk_discovery.api.parts import Parts
from brikk_discovery.api.servicer import DiscoveryServicer
from brikk_discovery.clients.events import Announcer
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.changes import Changes
from brikk_discovery.runtime.expiry import Expiry
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.settings import DiscoverySettings
from brikk_discovery.store.agents import AgentStore
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.database import Database
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.relays import relayed_outbox


async def build(settings: DiscoverySettings, app: Application) -> None:
    """Put the service together: every part gets what it needs here and nowhere else."""
    database = await app.enter(
        Database(settings.database_url, migrations="brikk_discovery.store.migrations")
    )
    app.audit(AuditLog(database))
    terms = settings.terms
    store = AgentStore(database, app.clock)
    leases = Leases(database, new_id(), app.clock)
    registry = Registry(candidate_message)
    async with database.reading() as connection:
        for agent in await store.read_all(connection):
            registry.put(agent)
    metrics = Metrics(app.telemetry.registry)
    metrics.watch(registry)
    outbox = relayed_outbox(
        app,
        database,
        leases,
        producer="discovery",
        addresses={
            "webhooks": settings.webhooks_address,
            "monitoring": settings.monitoring_address,
        },
    )
    announcer = Announcer(outbox)
    beats = Beats(
        database=database,
        store=store,
        registry=registry,
        terms=terms,
        clock=app.clock,
        metrics=metrics,
    )
    changes = Changes(
        database=database,
        store=store,
        registry=registry,
        announcer=announcer,
        terms=terms,
        max_agents=settings.max_agents,
        clock=app.clock,
        metrics=metrics,
    )
    expiry = Expiry(
        database=database,
        leases=leases,
        store=store,
        registry=registry,
        beats=beats,
        announcer=announcer,
        terms=terms,
        interval=settings.sweep_interval,
        clock=app.clock,
        metrics=metrics,
    )
    app.loop("changes", changes.commit)
    app.loop("doubts", changes.settle_doubts)
    app.loop("beats", beats.run)
    app.loop("expiry", expiry.run)
    app.mount(
        add_DiscoveryServiceServicer_to_server,
        DiscoveryServicer(
            Parts(registry=registry, changes=changes, beats=beats, terms=terms, metrics=metrics)
        ),
        discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"],
    )


def main() -> None:
    """Run the service until it is told to stop."""
    run(DiscoverySettings, build)


if __name__ == "__main__":
    main()
