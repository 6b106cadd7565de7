"""The workflow service put together: settings, store, engine, servicers."""

from __future__ import annotations

import random
from collections.abc import Collection
from contextlib import aclosing

from aiohttp import web

from brikk.workflow.v1 import (
    execution_service_pb2,
    schedule_service_pb2,
    workflow_service_pb2,
)
from brikk.workflow.v1.execution_service_pb2_grpc import add_ExecutionServiceServicer_to_server
from brikk.workflow.v1.schedule_service_pb2_grpc import add_ScheduleServiceServicer_to_server
from brikk.workflow.v1.workflow_service_pb2_grpc import add_WorkflowServiceServicer_to_server
from brikk_shared.application import Application, run
from brikk_shared.audit_log import AuditLog
from brikk_shared.clock import StoreClock
from brikk_shared.database import Database
from brikk_shared.egress import Egress
from brikk_shared.group_commit import GroupCommit
from brikk_shared.ids import new_id
from brikk_shared.leases import Leases
from brikk_shared.relays import relayed_outbox
from brikk_shared.resources import report_resources
from brikk_shared.selection import Selector
from brikk_shared.signing import TokenSigner
from brikk_workflow.api.executions import ExecutionServicer
from brikk_workflow.api.finished import Finished
from brikk_workflow.api.parts import Parts
from brikk_workflow.api.schedules import ScheduleServicer
from brikk_workflow.api.workflows import WorkflowServicer
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.breakers import Breakers
from brikk_workflow.clients.directory import AgentDirectory
from brikk_workflow.clients.discovery import DiscoveryClient
from brikk_workflow.clients.outcomes import OutcomeReports
from brikk_workflow.clients.watch import Watch
from brikk_workflow.runtime.backlog import BacklogGauge
from brikk_workflow.runtime.batches import Batches
from brikk_workflow.runtime.beginning import Beginner
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.departures import Departures
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.progress import ProgressBoard
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.runtime.retention import Retention
from brikk_workflow.runtime.rousing import Rousing
from brikk_workflow.runtime.schedules import Schedules
from brikk_workflow.runtime.subworkflows import Subworkflows
from brikk_workflow.runtime.timers import Timers
from brikk_workflow.runtime.waiting import WaitingRoom
from brikk_workflow.settings import WorkflowSettings
from brikk_workflow.store.archive import Archive
from brikk_workflow.store.ownership import REPLICA
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import keys


async def build(settings: WorkflowSettings, app: Application) -> None:
    """Puts the service together."""
    database = await app.enter(
        Database(settings.database_url, migrations="brikk_workflow.store.migrations")
    )
    app.audit(AuditLog(database))
    replica_id = new_id()
    clock = StoreClock(app.clock)
    leases = Leases(database, replica_id, app.clock, store_clock=clock)
    await leases.ask_time()

    signer = TokenSigner.from_file(settings.call_key, clock=app.clock)

    async def jwks(_: web.Request) -> web.Response:
        return web.json_response(signer.jwks())

    app.http("/.well-known/jwks.json", jwks)
    egress = Egress(settings.egress_allowed)
    caller = await app.enter(aclosing(AgentCaller(egress=egress, signer=signer, clock=app.clock)))

    metrics = Metrics(app.telemetry.registry)
    discovery = DiscoveryClient(
        app.channel(settings.discovery_address, scopes=["agent.read", "agent.report"])
    )
    spread = random.Random()  # noqa: S311 - it spreads calls, and keeps no secret
    selector = Selector(clock=app.clock, random=spread, zone=settings.zone)
    watch = Watch(discovery, clock=app.clock, random=random.SystemRandom().random)
    breakers = Breakers(app.clock)
    metrics.observe(watch, breakers)
    directory = AgentDirectory(discovery, watch, selector, breakers, chosen=metrics.chosen)
    waiting = WaitingRoom(directory, interval=settings.waiting_interval, clock=app.clock)
    watch.subscribe(waiting.offered)
    rousing = Rousing(directory, database, interval=settings.waiting_interval, clock=app.clock)
    watch.subscribe(rousing.offered)
    outbox = relayed_outbox(
        app,
        database,
        leases,
        producer="workflow",
        addresses={
            "webhooks": settings.webhooks_address,
            "monitoring": settings.monitoring_address,
        },
    )
    report_resources(app, settings.monitoring_address, probes={"database": database.ping})
    writer = TransitionWriter(database, outbox, observe=metrics.committed)
    commits = GroupCommit(writer.commit, keys=keys)
    changes = Changes()
    definitions = Definitions(database)
    engine = Engine(
        replica=f"{REPLICA}{replica_id}",
        clock=clock,
        random=random.SystemRandom().random,
        database=database,
        outbox=outbox,
        commits=commits,
        directory=directory,
        selector=selector,
        caller=caller,
        timers=Timers(clock),
        waiting=waiting,
        rousing=rousing,
        departures=Departures(database, linger=settings.linger, clock=clock),
        changes=changes,
        progress=ProgressBoard(database, changes, clock),
        subworkflows=Subworkflows(
            database,
            definitions,
            changes,
            app.clock,
            reconcile_interval=settings.reconcile_interval,
        ),
        metrics=metrics,
    )
    replica = Replica(
        engine,
        definitions,
        leases,
        lease_duration=settings.replica_lease,
        claim_interval=settings.claim_interval,
        reconcile_interval=settings.reconcile_interval,
        inbox_interval=settings.inbox_interval,
        max_owned=settings.max_owned,
        max_running=settings.max_running,
    )
    finished = Finished(
        max_bytes=settings.cache_bytes, clock=app.clock, registry=app.telemetry.registry
    )

    def removed(execution_ids: Collection[str]) -> None:
        metrics.removed.inc(len(execution_ids))
        finished.forget(execution_ids)

    retention = Retention(
        database,
        leases,
        keep=settings.retention,
        archive=None if settings.archive_dir is None else Archive(settings.archive_dir),
        removed=removed,
        clock=clock,
    )
    app.loop("commits", commits.run)
    app.loop("timers", engine.timers.run)
    app.loop("progress", engine.progress.run)
    app.loop("watch of discovery", watch.run)
    app.loop("disused capabilities", watch.tidy)
    app.loop("outcome reports", OutcomeReports(selector, discovery, clock=app.clock).run)
    app.loop("waiting room", waiting.run)
    app.loop("backlog", BacklogGauge(database, metrics, app.clock).run)
    app.loop("retention", retention.run)
    beginner = Beginner(database, definitions, replica)
    batches = Batches(
        database,
        leases,
        beginner,
        replica,
        clock=clock,
        lease_duration=settings.replica_lease,
        interval=settings.claim_interval,
    )
    app.loop("batches", batches.run)
    for name, loop in replica.loops().items():
        app.loop(name, loop)
    schedules = Schedules(
        database,
        replica,
        beginner,
        metrics,
        interval=settings.claim_interval,
        lease=settings.replica_lease,
    )
    app.loop("schedules", schedules.run)
    app.on_drain(replica.drain)

    app.mount(
        add_WorkflowServiceServicer_to_server,
        WorkflowServicer(database, clock),
        workflow_service_pb2.DESCRIPTOR.services_by_name["WorkflowService"],
    )
    app.mount(
        add_ExecutionServiceServicer_to_server,
        ExecutionServicer(
            Parts(
                database=database,
                clock=clock,
                definitions=definitions,
                replica=replica,
                changes=changes,
                finished=finished,
                beginner=beginner,
                batches=batches,
                heartbeat=settings.watch_heartbeat,
            )
        ),
        execution_service_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
    )
    app.mount(
        add_ScheduleServiceServicer_to_server,
        ScheduleServicer(database, schedules, quota=settings.max_schedules),
        schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
    )


def main() -> None:
    """The process `brikk-workflow`."""
    run(WorkflowSettings, build)


if __name__ == "__main__":
    main()
