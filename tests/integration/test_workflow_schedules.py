"""Schedules over the API: written, read, changed, steered, and survived by their ticks."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import duration_pb2, field_mask_pb2, timestamp_pb2

from brikk.workflow.v1 import execution_service_pb2, schedule_pb2
from brikk.workflow.v1 import schedule_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.structs import to_struct
from support.refusals import refused
from support.workflows import ScriptedAgent, State, WorkflowClient, World, echo

Schedule = schedule_pb2.Schedule
Run = schedule_pb2.ScheduleRun
NIGHTLY = Schedule(
    workflow="workflows/report",
    cron=schedule_pb2.CronTiming(expression="30 2 * * *", time_zone="Europe/Berlin"),
)
HOUR = timedelta(hours=1)
REPORT = """
name: report
input_schema: {type: object, properties: {n: {type: number}, at: {type: string}}}
steps:
  - id: only
    call: {capability: text.one, input: {given: "${input}"}}
"""


def every(seconds: float, **more: Any) -> Schedule:
    """A schedule that ticks at intervals."""
    schedule = Schedule(**{"workflow": "workflows/report", **more})
    schedule.interval.every.FromTimedelta(timedelta(seconds=seconds))
    return schedule


async def ask(client: WorkflowClient, method: str, request: Any) -> Any:
    call: Callable[..., Awaitable[Any]] = getattr(client.schedules, method)
    return await call(request, metadata=client.metadata, timeout=20)


async def create(client: WorkflowClient, schedule: Schedule, **more: Any) -> Any:
    given = {"schedule_id": "nightly", **more}
    return await ask(client, "CreateSchedule", pb.CreateScheduleRequest(schedule=schedule, **given))


async def get(client: WorkflowClient, name: str = "schedules/nightly") -> Any:
    return await ask(client, "GetSchedule", pb.GetScheduleRequest(name=name))


async def update(client: WorkflowClient, schedule: Schedule, *paths: str, **more: Any) -> Any:
    return await ask(
        client,
        "UpdateSchedule",
        pb.UpdateScheduleRequest(
            name="schedules/nightly",
            schedule=schedule,
            update_mask=field_mask_pb2.FieldMask(paths=paths),
            **more,
        ),
    )


async def until(client: WorkflowClient, condition: Callable[[Any], bool]) -> Any:
    """Reads the schedule until it is as wanted."""
    async with asyncio.timeout(40):
        while not condition(schedule := await get(client)):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.05)
    return schedule


async def executions(client: WorkflowClient) -> list[Any]:
    answer = await client.executions.ListExecutions(
        execution_service_pb2.ListExecutionsRequest(page_size=500),
        metadata=client.metadata,
        timeout=20,
    )
    return list(answer.executions)


def told(agent: ScriptedAgent) -> list[str]:
    """The ticks that executions were told, in the order of their calls."""
    inputs = (request.input.fields["given"].struct_value for request in agent.requests)
    return [each.fields["at"].string_value for each in inputs]


def stamp(moment: datetime) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message


async def test_written_read_and_forgotten(world: World) -> None:
    async with world.service() as client:
        await client.create(REPORT)
        created = await create(client, NIGHTLY, request_id="r1")
        assert created.name == "schedules/nightly"
        assert created.state == Schedule.STATE_ACTIVE
        # What was not given is spelt out.
        assert created.overlap_policy == Schedule.OVERLAP_POLICY_SKIP
        assert created.catchup_window == duration_pb2.Duration(seconds=3600)
        assert created.priority == 5
        ticks = [each.ToDatetime(UTC) for each in created.next_times]
        assert len(ticks) == 5
        assert ticks == sorted(set(ticks))
        assert ticks[0] > created.create_time.ToDatetime(UTC)
        assert await get(client) == created
        assert await create(client, NIGHTLY, request_id="r1") == created
        error = await refused(create(client, every(60), request_id="r1"))
        assert error.reason is Reason.REQUEST_ID_REUSED
        assert (await refused(create(client, every(60)))).reason is Reason.RESOURCE_EXISTS

        checked = await create(client, every(60), schedule_id="checked", validate_only=True)
        assert checked.interval.every.seconds == 60
        names = []
        for number in range(3):
            names.append((await create(client, every(3600), schedule_id=f"s{number}")).name)
        request = pb.ListSchedulesRequest(page_size=3)
        first = await ask(client, "ListSchedules", request)
        assert [each.name for each in first.schedules] == ["schedules/nightly", *names[:2]]
        assert {len(each.next_times) for each in first.schedules} == {1}
        request.page_token = first.next_page_token
        second = await ask(client, "ListSchedules", request)
        assert [each.name for each in second.schedules] == names[2:]
        assert second.next_page_token == ""

        await ask(client, "DeleteSchedule", pb.DeleteScheduleRequest(name="schedules/nightly"))
        assert (await refused(get(client))).reason is Reason.RESOURCE_NOT_FOUND


async def test_what_is_wrong_is_told(world: World) -> None:
    async with world.service(max_schedules=1) as client:
        await client.create(REPORT)
        wrong: list[tuple[Schedule, Reason, str]] = []

        def add(reason: Reason, text: str, **more: Any) -> None:
            schedule = Schedule()
            schedule.CopyFrom(NIGHTLY)
            schedule.MergeFrom(Schedule(**more))
            wrong.append((schedule, reason, text))

        invalid = Reason.INVALID_FIELD
        cron = schedule_pb2.CronTiming
        add(invalid, "at character 3: `25` is no hour", cron=cron(expression="0 25 * * *"))
        add(invalid, "did you mean Europe/Berlin?", cron=cron(time_zone="Europe/Berln"))
        add(invalid, "end_time must be later", start_time=stamp(_at(5)), end_time=stamp(_at(4)))
        add(invalid, "comes before the first tick", end_time=stamp(_at(-4)))
        add(invalid, "1970 to 2199", start_time=stamp(datetime(3000, 1, 1, tzinfo=UTC)))
        add(invalid, "catchup_window", catchup_window=duration_pb2.Duration(seconds=9))
        add(Reason.RESOURCE_NOT_FOUND, "workflows/gone", workflow="workflows/gone")
        add(Reason.INVALID_INPUT, "input.n", input=to_struct({"n": "one"}))
        add(Reason.INVALID_INPUT, "input.n", tick_input="n")
        for schedule, reason, text in wrong:
            error = await refused(create(client, schedule))
            assert error.reason is reason, error
            assert text in error.message
        error = await refused(create(client, Schedule(workflow="workflows/report")))
        assert "by cron or interval" in error.message
        await create(client, NIGHTLY)
        error = await refused(create(client, NIGHTLY, schedule_id="second"))
        assert error.reason is Reason.QUOTA_EXCEEDED


async def test_changed_it_keeps_what_was_not_named(world: World) -> None:
    async with world.service() as client:
        await client.create(REPORT)
        before = await create(client, NIGHTLY)
        same = await update(client, NIGHTLY)
        assert same == before
        renamed = await update(client, Schedule(description="at night"), etag=before.etag)
        assert (renamed.description, renamed.cron) == ("at night", before.cron)
        assert renamed.next_times == before.next_times
        error = await refused(update(client, Schedule(description="x"), etag=before.etag))
        assert error.reason is Reason.ETAG_MISMATCH

        checked = await update(client, every(60), "interval", validate_only=True)
        assert checked.WhichOneof("timing") == "interval"
        hourly = await update(client, every(3600), "interval", "description")
        assert (hourly.WhichOneof("timing"), hourly.description) == ("interval", "")
        assert hourly.etag == checked.etag
        first = hourly.next_times[0].ToDatetime(UTC)
        assert first > hourly.update_time.ToDatetime(UTC)
        assert (first - datetime(1970, 1, 1, tzinfo=UTC)) % HOUR == timedelta(0)

        for schedule, path, text in [
            (Schedule(), "counts", "which nobody can write"),
            (Schedule(), "workflow", "schedule.workflow is required"),
            (Schedule(description="\0"), "description", "schedule.description"),
            (Schedule(labels={f"l{n}": "" for n in range(32)}), "labels", "schedule.labels"),
        ]:
            assert text in (await refused(update(client, schedule, path))).message
        assert await get(client) == hourly


async def test_it_ticks_until_its_last_run_with_labels_and_the_time(world: World) -> None:
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(REPORT)
        await create(
            client,
            every(
                1,
                input=to_struct({"n": 1}),
                tick_input="at",
                labels={"team": "ops"},
                priority=7,
                max_runs=2,
                overlap_policy=Schedule.OVERLAP_POLICY_ALLOW_ALL,
            ),
        )
        ended = await until(client, lambda it: it.state == Schedule.STATE_ENDED)
        ended = await until(
            client, lambda it: {run.state for run in it.recent_runs} == {Run.STATE_STARTED}
        )
        assert (ended.counts.runs, len(ended.recent_runs), len(ended.next_times)) == (2, 2, 0)
        ticks = [run.tick_time.ToDatetime(UTC) for run in reversed(ended.recent_runs)]
        for run in ended.recent_runs:
            execution = await client.wait(run.execution)
            assert execution.state == State.STATE_SUCCEEDED
            assert dict(execution.labels) == {"team": "ops", "schedule": "nightly"}
            assert execution.priority == 7
        assert sorted(told(agent)) == [f"{tick:%Y-%m-%dT%H:%M:%S}Z" for tick in ticks]
        again = await update(client, Schedule(max_runs=3))
        assert again.state == Schedule.STATE_ACTIVE
        assert again.next_times[0].ToDatetime() > again.update_time.ToDatetime()


async def test_paused_it_starts_nothing_and_resumed_it_goes_on(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(REPORT)
        await create(client, every(1))
        await until(client, lambda it: it.counts.runs >= 1)
        request = pb.PauseScheduleRequest(name="schedules/nightly", reason="migration")
        paused = await ask(client, "PauseSchedule", request)
        assert (paused.state, paused.state_reason) == (Schedule.STATE_PAUSED, "migration")
        assert not paused.next_times
        assert (await ask(client, "PauseSchedule", request)).etag == paused.etag

        trigger = pb.TriggerScheduleRequest(name="schedules/nightly", request_id="t1")
        first = await ask(client, "TriggerSchedule", trigger)
        assert (await ask(client, "TriggerSchedule", trigger)).name == first.name
        triggered = await get(client)
        assert triggered.counts.runs == paused.counts.runs
        [run] = [each for each in triggered.recent_runs if each.cause == Run.CAUSE_TRIGGER]
        assert run.execution == first.name

        resume = pb.ResumeScheduleRequest(name="schedules/nightly")
        resumed = await ask(client, "ResumeSchedule", resume)
        assert (resumed.state, resumed.state_reason) == (Schedule.STATE_ACTIVE, "")
        assert resumed.counts.missed == 0
        await until(client, lambda it: it.counts.runs > resumed.counts.runs)


@pytest.mark.parametrize("together", [True, False])
async def test_backfilled_each_tick_of_the_window_runs_once(world: World, together: bool) -> None:
    policy = Schedule.OVERLAP_POLICY_ALLOW_ALL if together else Schedule.OVERLAP_POLICY_UNSPECIFIED
    async with world.agent(text__one=echo()) as agent, world.service() as client:
        await client.create(REPORT)
        daily = every(86400, tick_input="at", workflow="workflows/report/versions/1")
        await create(client, daily)
        request = pb.BackfillScheduleRequest(
            name="schedules/nightly",
            start_time=stamp(datetime(2026, 1, 1, tzinfo=UTC)),
            end_time=stamp(datetime(2026, 1, 5, tzinfo=UTC)),
            overlap_policy=policy,
            request_id="b1",
        )
        for _ in range(2):
            assert (await ask(client, "BackfillSchedule", request)).ticks == 4
        filled = await until(
            client, lambda it: [run.state for run in it.recent_runs] == [Run.STATE_STARTED] * 4
        )
        assert filled.counts.runs == 0
        for run in filled.recent_runs:
            assert run.cause == Run.CAUSE_BACKFILL
            await client.wait(run.execution)
        assert len(await executions(client)) == 4
        expected = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 5)]
        assert (sorted(told(agent)) if together else told(agent)) == expected

        for start, end, wrong, text in [
            (1, 1, None, "must be later than start_time"),
            (1, 4, Schedule.OVERLAP_POLICY_SKIP, "must be BUFFER_ALL or ALLOW_ALL"),
            (1, 2000 * 365, None, "must not be later than now"),
        ]:
            request.start_time.CopyFrom(stamp(datetime(2000, 1, start, tzinfo=UTC)))
            late = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=end - 1)
            request.end_time.CopyFrom(stamp(late))
            request.overlap_policy = wrong or Schedule.OVERLAP_POLICY_UNSPECIFIED
            assert text in (await refused(ask(client, "BackfillSchedule", request))).message
        request.end_time.CopyFrom(stamp(datetime(2020, 1, 1, tzinfo=UTC)))
        request.overlap_policy = Schedule.OVERLAP_POLICY_ALLOW_ALL
        error = await refused(ask(client, "BackfillSchedule", request))
        assert "more than 1000 ticks" in error.message
        request.overlap_policy = Schedule.OVERLAP_POLICY_BUFFER_ALL
        request.start_time.CopyFrom(stamp(datetime(2018, 1, 1, tzinfo=UTC)))
        request.request_id = "b2"
        for _ in range(2):
            assert (await ask(client, "BackfillSchedule", request)).ticks == 730
        request.request_id = "b3"
        error = await refused(ask(client, "BackfillSchedule", request))
        assert error.reason is Reason.QUOTA_EXCEEDED


async def test_killed_between_a_tick_and_its_execution_and_again_after_that_it_starts_once(
    world: World,
) -> None:
    lease = {"replica_lease": "2s"}
    async with world.agent(text__one=echo()):
        async with world.process(fault="schedule.decided", **lease) as doomed:
            await doomed.client.create(REPORT)
            await create(doomed.client, every(1, max_runs=1))
            assert await doomed.process.process.wait() == -signal.SIGKILL
        async with world.process(fault="schedule.started", **lease) as doomed:
            assert await doomed.process.process.wait() == -signal.SIGKILL
        async with world.process(**lease) as service:
            ended = await until(
                service.client,
                lambda it: [run.state for run in it.recent_runs] == [Run.STATE_STARTED],
            )
            assert (ended.counts.runs, ended.state) == (1, Schedule.STATE_ENDED)
            [execution] = await executions(service.client)
            assert execution.name == ended.recent_runs[0].execution
            assert (await service.client.wait(execution.name)).state == State.STATE_SUCCEEDED


def _at(hours: int) -> datetime:
    return datetime.now(UTC) + hours * HOUR
