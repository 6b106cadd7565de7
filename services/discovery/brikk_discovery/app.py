"""Puts the discovery service together and runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import SystemRandom
from typing import Final

from brikk.discovery.v1 import discovery_service_pb2
from brikk.discovery.v1.discovery_service_pb2_grpc import add_DiscoveryServiceServicer_to_server
from brikk_discovery.api.candidates import Offered, offered
from brikk_discovery.api.parts import Parts
from brikk_discovery.api.servicer import DiscoveryServicer
from brikk_discovery.api.watching import watch_messages
from brikk_discovery.clients.events import Announcer
from brikk_discovery.clients.health import HealthClient
from brikk_discovery.runtime.beats import Beats
from brikk_discovery.runtime.changes import Changes
from brikk_discovery.runtime.composing import Composer
from brikk_discovery.runtime.doubts import Doubts
from brikk_discovery.runtime.expiry import Expiry
from brikk_discovery.runtime.feed import Feed
from brikk_discovery.runtime.journal import Journal
from brikk_discovery.runtime.losses import Losses
from brikk_discovery.runtime.metrics import Metrics
from brikk_discovery.runtime.outcomes import Outcomes
from brikk_discovery.runtime.pace import Pace
from brikk_discovery.runtime.probes import Probes
from brikk_discovery.runtime.registry import Registry
from brikk_discovery.runtime.search import Search
from brikk_discovery.runtime.seats import Seats
from brikk_discovery.runtime.watchers import Watchers
from brikk_discovery.settings import DiscoverySettings
from brikk_discovery.store.agents import AgentStore, Position
from brikk_discovery.store.memories import MemoryStore
from brikk_discovery.store.outcomes import OutcomeStore
from brikk_discovery.store.removals import RemovalStore
from brikk_discovery.store.renewals import RenewalStore
from brikk_discovery.store.standings import StandingStore
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.relays import relayed_outbox
from brikk_shared.resources import report_resources

# Changes that are remembered for watchers who come back, some 30 MB of them.
_HISTORY: Final = 100_000
# Streams of heartbeats for each agent that an organisation may have: one, and the one before, which
# may have broken unnoticed.
_STREAMS: Final = 2


async def build(settings: DiscoverySettings, app: Application) -> None:
    """Put the service together: every part gets what it needs here and nowhere else."""
    database = await app.enter(
        Database(settings.database_url, migrations="brikk_discovery.store.migrations")
    )
    app.audit(AuditLog(database))
    terms = settings.terms
    pace = Pace(terms, max_beats_per_second=settings.max_beats_per_second, clock=app.clock)
    store = AgentStore(database, app.clock)
    memories, removals = MemoryStore(database), RemovalStore(database)
    renewals = RenewalStore(database)
    leases = Leases(database, new_id(), app.clock)
    registry = Registry(offered)
    search = Search()
    registry.subscribe(search.note)
    outcomes = Outcomes(
        database=database,
        agents=store,
        store=OutcomeStore(database),
        registry=registry,
        interval=settings.checkpoint_interval,
        clock=app.clock,
    )
    async with database.reading() as connection:
        position = await store.position(connection)
        for agent in await store.read_all(connection):
            registry.put(agent)
        await outcomes.learn(connection, position.time)
        revisions = await removals.since(connection, 0)
        forgotten = await removals.forgotten(connection)
    registry.reach(position.revision)
    journal = Journal(_HISTORY)
    revisions |= {entry.agent.key: entry.agent.revision for entry in registry.entries()}
    journal.load(revisions, since=forgotten, until=position.revision)
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
    report_resources(app, settings.monitoring_address, probes={"database": database.ping})
    announcer = Announcer(outbox)
    feed: Feed | None = None
    if database.dialect == "postgresql":  # a file belongs to one process
        feed = Feed(
            database=database,
            store=store,
            renewals=renewals,
            removals=removals,
            registry=registry,
            outcomes=outcomes,
            position=position,
            terms=terms,
            clock=app.clock,
        )
        app.loop("feed", feed.run)
    watchers = Watchers(
        registry=registry,
        journal=journal,
        composer=Composer(registry, watch_messages, new_id()),
        position=_position(registry, feed, position),
        alone_since=position.revision if feed is None else None,
        seats=Seats(
            "watchers",
            per_organization=settings.max_organization_watchers,
            in_all=settings.max_watchers,
            taken=metrics.watchers,
        ),
        coalescing=settings.watch_coalescing,
        bookmarks=settings.bookmark_interval,
        clock=app.clock,
        metrics=metrics,
    )
    beats = Beats(
        database=database,
        store=store,
        renewals=renewals,
        registry=registry,
        pace=pace,
        catch_up=None if feed is None else feed.catch_up,
        clock=app.clock,
        metrics=metrics,
    )
    changes = Changes(
        database=database,
        store=store,
        memories=memories,
        removals=removals,
        registry=registry,
        announcer=announcer,
        pace=pace,
        max_agents=settings.max_agents,
        clock=app.clock,
        metrics=metrics,
    )
    egress = Egress(settings.egress_allowed)
    probes = Probes(
        answers=HealthClient(egress, settings.probe_timeout).answers,
        in_doubt=outcomes.in_doubt,
        registry=registry,
        interval=settings.probe_interval,
        concurrency=settings.probe_concurrency,
        clock=app.clock,
        random=SystemRandom(),
        metrics=metrics,
    )
    standings = StandingStore(database)
    expiry = Expiry(
        database=database,
        leases=leases,
        store=store,
        standings=standings,
        removals=removals,
        registry=registry,
        beats=beats,
        probes=probes,
        doubts=Doubts(
            store=store, memories=memories, standings=standings, probes=probes, metrics=metrics
        ),
        losses=Losses(guard=settings.guard, probes=probes, metrics=metrics),
        announcer=announcer,
        terms=terms,
        pace=pace,
        interval=settings.sweep_interval,
        clock=app.clock,
        metrics=metrics,
    )
    app.loop("changes", changes.commit)
    app.loop("uncertain", changes.read_again)
    app.loop("beats", beats.run)
    app.loop("outcomes", outcomes.run)
    app.loop("expiry", expiry.run)
    app.loop("probes", probes.run)
    app.loop("watchers", watchers.run)
    app.loop("bookmarks", watchers.run_bookmarks)
    app.loop("observations", watchers.run_observations)
    app.mount(
        add_DiscoveryServiceServicer_to_server,
        DiscoveryServicer(
            Parts(
                registry=registry,
                changes=changes,
                beats=beats,
                streams=Seats(
                    "heartbeat_streams",
                    per_organization=_STREAMS * settings.max_agents,
                    in_all=settings.max_heartbeat_streams,
                    taken=metrics.heartbeat_streams,
                ),
                outcomes=outcomes,
                search=search,
                watchers=watchers,
                pace=pace,
                egress=egress,
                metrics=metrics,
            )
        ),
        discovery_service_pb2.DESCRIPTOR.services_by_name["DiscoveryService"],
    )


def _position(
    registry: Registry[Offered], feed: Feed | None, loaded: Position
) -> Callable[[], Position]:
    """Tell up to where the registry knows all that was committed."""
    if feed is not None:
        return lambda: feed.position
    # Whatever is committed to a file is committed here, and comes to the registry at once.
    return lambda: replace(loaded, revision=registry.revision)


def main() -> None:
    """Run the service until it is told to stop."""
    run(DiscoverySettings, build)


if __name__ == "__main__":
    main()
