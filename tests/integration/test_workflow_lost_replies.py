"""A commit whose reply is lost: the calls that it recorded go to the agents that it names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from brikk_shared.audit import AuditEntry
from brikk_shared.clock import SystemClock
from brikk_shared.database import Database
from brikk_shared.group_commit import GroupCommit
from brikk_shared.leases import Leases
from brikk_shared.outbox import Outbox
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.departures import Departures
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.progress import ProgressBoard
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.runtime.rousing import Rousing
from brikk_workflow.runtime.starts import Start
from brikk_workflow.runtime.subworkflows import Subworkflows
from brikk_workflow.runtime.timers import Timers
from brikk_workflow.runtime.waiting import WaitingRoom
from brikk_workflow.store import transitions
from brikk_workflow.store.executions import get_execution
from brikk_workflow.store.transition_writer import TransitionWriter
from brikk_workflow.store.transitions import Move, Write, Written, keys
from brikk_workflow.store.workflows import add_version
from support.directories import Setting
from support.discovery import until
from support.loopback import egress
from support.running import running
from support.scripted_discovery import candidate
from support.workflows import World, echo

CHAIN = """
name: chain
steps:
  - {id: first, call: {capability: text.one, policy: round_robin}}
  - {id: second, call: {capability: text.two, policy: round_robin}}
"""


class Forgetful:
    """Writes everything, and once tells nobody that a call of a step was recorded."""

    def __init__(self, writer: TransitionWriter, step_id: str) -> None:
        self._writer = writer
        self._step_id = step_id
        self.recorded = ""

    async def commit(
        self, writes: Sequence[Write], audit: Sequence[AuditEntry | None]
    ) -> Sequence[Written]:
        written = list(await self._writer.commit(writes, audit))
        for index, each in enumerate(writes):
            step = each.changes.state.steps.get(self._step_id)
            if isinstance(each, Move) and step and step.token and not self.recorded:
                self.recorded = step.agent
                written[index] = transitions.NOT_APPLIED
        return written


@asynccontextmanager
async def replica(
    world: World, setting: Setting, step_id: str
) -> AsyncIterator[tuple[Replica, Forgetful, Database]]:
    """Runs a replica on a database of its own; the reply about a call of the step gets lost."""
    clock = SystemClock()
    async with (
        Database(world.database_url, migrations="brikk_workflow.store.migrations") as database,
        aclosing(AgentCaller(egress=egress(), signer=world.tokens.services, clock=clock)) as caller,
    ):
        outbox = Outbox(database, source=transitions.SOURCE, destinations=["monitoring"])
        forgetful = Forgetful(TransitionWriter(database, outbox, observe=lambda *_: None), step_id)
        changes, definitions = Changes(), Definitions(database)
        engine = Engine(
            replica="replica/one",
            clock=clock,
            random=lambda: 0.5,
            database=database,
            outbox=outbox,
            commits=GroupCommit(forgetful.commit, keys=keys),
            directory=setting.directory,
            selector=setting.selector,
            caller=caller,
            timers=Timers(clock),
            waiting=WaitingRoom(setting.directory, interval=timedelta(hours=1), clock=clock),
            rousing=Rousing(setting.directory, database, interval=timedelta(hours=1), clock=clock),
            departures=Departures(database, linger=timedelta(days=1), clock=clock),
            changes=changes,
            progress=ProgressBoard(database, changes, clock),
            subworkflows=Subworkflows(
                database,
                definitions,
                changes,
                clock,
                reconcile_interval=timedelta(hours=1),
            ),
            metrics=Metrics(CollectorRegistry()),
        )
        moment = timedelta(milliseconds=50)
        one = Replica(
            engine,
            definitions,
            Leases(database, "one", clock),
            lease_duration=timedelta(seconds=10),
            claim_interval=moment,
            reconcile_interval=timedelta(hours=1),
            inbox_interval=moment,
            max_owned=10,
            max_running=10,
        )
        async with running(engine.commits.run), running(one.loops()["replica"]):
            yield one, forgetful, database


async def test_the_agent_that_the_history_names_is_called(
    tmp_path: Path, database_url: str
) -> None:
    setting = Setting()
    workflow = read_yaml(CHAIN)
    assert isinstance(workflow, CompiledWorkflow)
    async with (
        World(tmp_path, database_url).open() as world,
        world.agent("agents/a", text__one=echo(), text__two=echo()) as a,
        world.agent("agents/b", text__one=echo(), text__two=echo()) as b,
        replica(world, setting, "second") as (one, forgetful, database),
    ):
        for agent in (a, b):
            name = agent.name.removeprefix("agents/")
            for capability in agent.work:
                await setting.discovery.offer(candidate(name, capability, endpoint=agent.endpoint))
        now = SystemClock().now()
        version = VersionRecord(version=1, definition=workflow.definition, create_time=now)
        record = WorkflowRecord(workflow_id="chain", latest=version, create_time=now)
        async with database.transaction() as connection:
            await add_version(connection, "acme", record, request_id="")
        started = await one.start(
            Start(
                organization="acme",
                workflow=replace(workflow, version=1),
                newest=False,
                input={},
                labels={},
                priority=5,
                request_id="",
                traceparent="",
            )
        )
        assert started is not None

        async def ended() -> bool:
            async with database.reading() as connection:
                stored = await get_execution(connection, "acme", started.execution_id)
            return stored is not None and stored.state.status.terminal

        await until(ended)
        called = [agent.name for agent in (a, b) if agent.calls["text.two"]]
        assert called == [forgetful.recorded]
        assert a.calls["text.two"] + b.calls["text.two"] == 1
