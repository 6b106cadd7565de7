"""Ticks with several replicas and wrong clocks: one execution each, whatever befalls a replica."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from brikk_shared.errors import Unavailable
from brikk_workflow.domain.schedule import Counts, Overlap, Plan, RunState, Schedule, ScheduleRun
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.beginning import Beginner
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.metrics import Metrics
from brikk_workflow.runtime.schedules import Schedules
from brikk_workflow.store.schedule_runs import list_runs
from brikk_workflow.store.schedules import add_schedule, change_schedule, get_schedule
from brikk_workflow.store.tables import EXECUTION
from support import plans
from support.directories import Setting
from support.plans import make_schedule
from support.replicas import SECOND, Agents, Member, Wire
from support.scripted_discovery import candidate
from support.stage import ORGANIZATION, Stage

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TAKEN = timedelta(seconds=10)
"""How long a run belongs to whoever decided it."""
WORKFLOW = """
name: report
steps:
  - id: only
    call: {capability: t.always}
"""
PLAN = replace(plans.PLAN, overlap=Overlap.ALLOW_ALL)


class Scene:
    """A store with a workflow and a schedule of it, and replicas that decide when a test says."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.agents = Agents()
        self.setting = Setting()
        self.members: list[Member] = []
        self.wires: list[Wire] = []

    def member(self, *, ahead: timedelta = timedelta(0)) -> Schedules:
        """The schedules of a replica on a machine whose clock is wrong by so much."""
        store = self.stage.store
        member = Member(store, self.agents, self.setting, now=store.now + ahead)
        self.members.append(member)
        # Of their own, so that a test loses their commits and no others.
        self.wires.append(wire := Wire(store))
        return Schedules(
            wire,
            member.replica,
            Beginner(wire, Definitions(wire), member.replica),
            Metrics(CollectorRegistry()),
            interval=SECOND,
            lease=TAKEN,
        )

    async def keep(self, plan: Plan) -> None:
        """Creates the schedule."""
        schedule = make_schedule(plan, position=self.stage.store.now)
        async with self.stage.store.transaction() as connection:
            await add_schedule(
                connection, schedule, request_id="", request_digest=b"", quota=1, dry=False
            )

    async def schedule(self) -> Schedule:
        async with self.stage.store.reading() as connection:
            schedule = await get_schedule(connection, ORGANIZATION, "nightly")
        assert schedule is not None
        return schedule

    async def runs(self) -> Sequence[ScheduleRun]:
        async with self.stage.store.reading() as connection:
            return await list_runs(connection, "u1")

    async def executions(self) -> Sequence[tuple[str, datetime | None]]:
        """What was started, oldest first: ids, and when they ended."""
        columns = (EXECUTION.c.execution_id, EXECUTION.c.end_time)
        query = select(*columns).order_by(EXECUTION.c.execution_id)
        async with self.stage.store.reading() as connection:
            return [(row[0], row[1]) for row in await connection.execute(query)]

    async def open(self) -> Sequence[str]:
        """The executions that have not ended."""
        return [execution_id for execution_id, end in await self.executions() if end is None]

    async def pass_time(self, duration: timedelta) -> None:
        """Lets time pass by the store and by all machines."""
        await self.stage.store.advance(duration)
        for member in self.members:
            member.catch_up()

    async def until_open(self, count: int) -> None:
        """Lets the replicas work until so many executions have not ended."""
        async with asyncio.timeout(30):
            while len(await self.open()) != count:
                await self.pass_time(timedelta(milliseconds=100))

    async def end(self, execution_id: str) -> None:
        """Ends an execution."""
        count = len(await self.open())
        await self.stage.wish(execution_id, WishKind.TERMINATE)
        for member in self.members:
            member.replica.poke(execution_id)
        await self.until_open(count - 1)

    async def fail(self, execution_id: str) -> None:
        """Has the agent refuse what an execution asks of it."""
        count = len(await self.open())
        async with asyncio.timeout(30):
            while not self.agents.pending:
                await self.stage.turns(1)
        for call in self.agents.pending:
            if call.work.execution == f"executions/{execution_id}":
                call.refuse()
        await self.until_open(count - 1)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        scene = Scene(await Stage.set_up(stack, database_url, WORKFLOW))
        await scene.setting.discovery.offer(candidate("a", "t.always"))
        yield scene
        for member in scene.members:
            await member.crash()


async def test_three_replicas_two_of_them_an_hour_off_start_each_tick_once(scene: Scene) -> None:
    replicas = [scene.member(ahead=off) for off in (timedelta(0), HOUR, -HOUR)]
    await scene.keep(PLAN)
    for _ in range(2):
        await asyncio.gather(*(each.turn() for each in replicas))
    assert await scene.executions() == [], "no tick is due by the clock of the store"
    for number in range(1, 6):
        await scene.pass_time(MINUTE)
        for _ in range(2):
            await asyncio.gather(*(each.turn() for each in replicas))
        assert len(await scene.executions()) == number
    schedule = await scene.schedule()
    assert schedule.counts == Counts(runs=5)
    assert schedule.next_time == scene.stage.store.now + MINUTE
    runs = await scene.runs()
    assert {run.tick for run in runs} == {schedule.position - n * MINUTE for n in range(5)}
    assert {run.execution_id for run in runs} == {each for each, _ in await scene.executions()}


async def test_what_one_decided_and_did_not_start_another_starts_once(scene: Scene) -> None:
    doomed, other = scene.member(), scene.member()
    await scene.keep(PLAN)
    await scene.pass_time(MINUTE)
    scene.wires[0].losing = 1  # it decides, and never hears that it has
    with pytest.raises(Unavailable):
        await doomed.turn()
    [run] = await scene.runs()
    assert run.state is RunState.PENDING
    await other.turn()
    assert await scene.executions() == [], "it may be about to start"
    await scene.pass_time(TAKEN)
    await asyncio.gather(other.turn(), doomed.turn())
    await other.turn()
    [(execution_id, _)] = await scene.executions()
    [run] = await scene.runs()
    assert (run.state, run.execution_id) == (RunState.STARTED, execution_id)
    assert (await scene.schedule()).counts == Counts(runs=1)


async def test_after_a_downtime_ticks_within_the_window_are_made_up(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, catchup=2 * MINUTE))
    await scene.pass_time(10 * MINUTE)
    await replica.turn()
    assert len(await scene.executions()) == 3
    assert (await scene.schedule()).counts == Counts(runs=3, missed=7)


async def test_a_tick_is_skipped_while_an_execution_runs(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, overlap=Overlap.SKIP))
    for _ in range(3):
        await scene.pass_time(MINUTE)
        await replica.turn()
    [execution_id] = await scene.open()
    assert (await scene.schedule()).counts == Counts(runs=1, skipped=2)
    await scene.end(execution_id)
    await scene.pass_time(MINUTE)
    await replica.turn()
    assert len(await scene.executions()) == 2


async def test_one_tick_waits_and_starts_when_the_execution_has_ended(scene: Scene) -> None:
    replicas = [scene.member(), scene.member()]
    await scene.keep(replace(PLAN, overlap=Overlap.BUFFER_ONE))
    for _ in range(3):
        await scene.pass_time(MINUTE)
        await replicas[0].turn()
    [first] = await scene.open()
    waiting, started = await scene.runs()
    assert [waiting.state, started.state] == [RunState.WAITING, RunState.STARTED]
    assert (await scene.schedule()).counts == Counts(runs=2, skipped=1)
    await scene.end(first)
    await asyncio.gather(*(each.turn() for each in replicas))
    [second] = await scene.open()
    assert second != first
    await asyncio.gather(*(each.turn() for each in replicas))
    assert len(await scene.executions()) == 2


async def test_a_tick_cancels_what_runs_and_starts_after_its_end(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, overlap=Overlap.CANCEL_OTHER))
    await scene.pass_time(MINUTE)
    await replica.turn()
    [first] = await scene.open()
    await scene.pass_time(MINUTE)
    await replica.turn()
    assert len(await scene.executions()) == 1, "never two at once"
    await scene.until_open(0)
    await replica.turn()
    assert first not in await scene.open()
    assert len(await scene.executions()) == 2
    assert (await scene.schedule()).counts == Counts(runs=2)


async def test_a_run_that_cannot_start_fails_and_holds_up_no_other(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, overlap=Overlap.SKIP, workflow="workflows/gone"))
    for number in (1, 2):
        await scene.pass_time(MINUTE)
        await replica.turn()
        assert (await scene.schedule()).counts == Counts(runs=number, failed=number)
    assert {run.state for run in await scene.runs()} == {RunState.FAILED}
    assert {run.error for run in await scene.runs()} == {"workflows/gone does not exist"}
    schedule = await scene.schedule()
    async with scene.stage.store.transaction() as connection:
        await change_schedule(
            connection, replace(schedule, plan=replace(schedule.plan, workflow="workflows/report"))
        )
    await scene.pass_time(MINUTE)
    await replica.turn()
    assert len(await scene.open()) == 1


async def test_it_is_paused_after_a_failure_and_resumed_it_goes_on(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, overlap=Overlap.BUFFER_ALL, pause_on_failure=True))
    for _ in range(2):
        await scene.pass_time(MINUTE)
        await replica.turn()
    [failing] = await scene.open()
    await scene.fail(failing)
    await scene.pass_time(MINUTE)
    await replica.turn()
    paused = await scene.schedule()
    assert (paused.paused, paused.reason) == (True, f"executions/{failing} failed")
    assert (paused.next_time, paused.counts) == (None, Counts(runs=1, skipped=1))
    async with scene.stage.store.transaction() as connection:
        now = scene.stage.store.now
        resumed = replace(paused, paused=False, reason="", position=now).revised(now)
        await change_schedule(connection, resumed)
    await scene.pass_time(MINUTE)
    await replica.turn()
    assert len(await scene.open()) == 1


async def test_only_the_newest_runs_are_kept(scene: Scene) -> None:
    replica = scene.member()
    await scene.keep(replace(PLAN, workflow="workflows/gone"))
    await scene.pass_time(30 * MINUTE)
    await replica.turn()
    newest = (await scene.schedule()).position
    assert [run.tick for run in await scene.runs()] == [newest - n * MINUTE for n in range(10)]
