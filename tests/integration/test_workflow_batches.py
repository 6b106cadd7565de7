"""Many executions at once: started, and asked by a batch that survives its process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import grpc

from brikk.workflow.v1 import batch_pb2, execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.status import from_status
from support.behind import run
from support.chaos import let_leases_end
from support.refusals import refused
from support.verbs import until
from support.workflows import AgentError, State, WorkflowClient, World, echo

ONE = """
name: one
steps:
  - id: only
    call: {capability: text.one}
    retry: {max_attempts: 1}
"""
Batch = batch_pb2.Batch


async def start(
    client: WorkflowClient, *requests: pb.StartExecutionRequest
) -> Sequence[pb.BatchStartResult]:
    answer = await client.executions.BatchStartExecutions(
        pb.BatchStartExecutionsRequest(requests=requests), metadata=client.metadata, timeout=60
    )
    return answer.results


async def start_many(client: WorkflowClient, count: int, **labels: str) -> list[str]:
    one = pb.StartExecutionRequest(workflow="workflows/one", labels=labels)
    return [each.execution.name for each in await start(client, *[one] * count)]


async def ask(
    client: WorkflowClient,
    verb: Batch.Verb.ValueType,
    wanted: pb.ExecutionFilter,
    **more: str | bool,
) -> Batch:
    request = pb.BatchExecutionsRequest(verb=verb, filter=wanted)
    for field, value in more.items():
        setattr(request, field, value)
    return await client.executions.BatchExecutions(request, metadata=client.metadata, timeout=20)


async def wait(client: WorkflowClient, batch: Batch) -> Batch:
    request = pb.WaitBatchRequest(name=batch.name)
    ended = await client.executions.WaitBatch(request, metadata=client.metadata, timeout=40)
    assert ended.state != Batch.STATE_RUNNING, ended
    return ended


async def listed(
    client: WorkflowClient, wanted: pb.ExecutionFilter
) -> Sequence[execution_pb2.WorkflowExecution]:
    request = pb.ListExecutionsRequest(page_size=500, filter=wanted)
    answer = await client.executions.ListExecutions(request, metadata=client.metadata, timeout=20)
    return answer.executions


async def test_each_of_many_starts_or_fails_by_itself(world: World) -> None:
    async with world.agent(text__one=echo()), world.service() as client:
        await client.create(ONE)
        good = pb.StartExecutionRequest(workflow="workflows/one", request_id="r1")
        waiting = pb.StartExecutionRequest(workflow="workflows/one")
        waiting.wait_timeout.FromSeconds(1)
        starts = [good, pb.StartExecutionRequest(workflow="workflows/none"), good, waiting]
        results = await start(client, *starts)
        assert [each.WhichOneof("result") for each in results] == [
            "execution",
            "error",
            "execution",
            "error",
        ]
        assert results[0].execution.name == results[2].execution.name
        absent, odd = (from_status(results[number].error) for number in (1, 3))
        assert (absent.code, absent.metadata["resource"]) == ("NOT_FOUND", "workflows/none")
        assert odd.violations[0].field == "wait_timeout"
        [again] = await start(client, good)
        assert again.execution.name == results[0].execution.name
        audited = await run(world.database_url, "SELECT method, outcome FROM audit_entry")
        assert Counter(method.rpartition("/")[2] for method, _ in audited) == {
            "CreateWorkflow": 1,
            "BatchStartExecutions": 2,
        }


async def test_all_that_match_are_asked_page_by_page(world: World) -> None:
    """Nobody is there to do the work, so that all wait."""
    async with world.service() as client:
        await client.create(ONE)
        names = await start_many(client, 600, team="a")
        [spared] = await start_many(client, 1, team="b")
        assert len(set(names)) == 600
        team = pb.ExecutionFilter(labels={"team": "a"})

        counted = await ask(client, Batch.VERB_TERMINATE, team, validate_only=True)
        assert (counted.name, counted.matched) == ("", 600)
        batch = await ask(client, Batch.VERB_TERMINATE, team, reason="enough", request_id="r1")
        assert (batch.matched, batch.reason) == (600, "enough")
        again = await ask(client, Batch.VERB_TERMINATE, team, reason="enough", request_id="r1")
        assert again.name == batch.name
        error = await refused(ask(client, Batch.VERB_CANCEL, team, request_id="r1"))
        assert error.reason is Reason.REQUEST_ID_REUSED

        ended = await wait(client, batch)
        assert (ended.state, ended.done, ended.failed) == (Batch.STATE_SUCCEEDED, 600, 0)
        assert ended.HasField("end_time")
        last = await client.wait(names[0])
        assert (last.state, "enough" in last.error.message) == (State.STATE_TERMINATED, True)
        assert (await client.wait(names[-1])).state == State.STATE_TERMINATED
        [left] = await listed(client, pb.ExecutionFilter(labels={"team": "b"}))
        assert (left.name, left.state) == (spared, State.STATE_RUNNING)
        found = await client.executions.ListBatches(
            pb.ListBatchesRequest(), metadata=client.metadata
        )
        assert [each.name for each in found.batches] == [batch.name]
        stopped = await client.executions.CancelBatch(
            pb.CancelBatchRequest(name=batch.name), metadata=client.metadata
        )
        assert stopped == ended


async def test_some_are_asked_by_name_and_others_hold_still(world: World) -> None:
    async with world.service() as client:
        await client.create(ONE)
        names = await start_many(client, 3)
        some = pb.ExecutionFilter(executions=names[:2])
        await wait(client, await ask(client, Batch.VERB_PAUSE, some, reason="lunch"))
        paused = pb.ExecutionFilter(states=[State.STATE_PAUSED])
        for name in names[:2]:
            await until(client, name, State.STATE_PAUSED)
        assert {each.name for each in await listed(client, paused)} == set(names[:2])
        # Of the three only those that it has an effect on.
        counted = await ask(
            client, Batch.VERB_RESUME, pb.ExecutionFilter(executions=names), validate_only=True
        )
        assert counted.matched == 2
        async with world.agent(text__one=echo()):
            await wait(client, await ask(client, Batch.VERB_RESUME, paused))
            for name in names:
                assert (await client.wait(name)).state == State.STATE_SUCCEEDED


async def test_what_is_asked_wrongly_is_refused(world: World) -> None:
    async with world.service() as client:
        running = pb.ExecutionFilter(states=[State.STATE_RUNNING])
        absent = pb.ExecutionFilter(executions=["executions/none"])
        error = await refused(ask(client, Batch.VERB_CANCEL, pb.ExecutionFilter()))
        assert error.violations[0].field == "filter"
        error = await refused(ask(client, Batch.VERB_RETRY, running))
        assert error.violations[0].field == "filter.states"
        error = await refused(ask(client, Batch.VERB_RETRY, absent, reason="why"))
        assert error.violations[0].field == "reason"
        error = await refused(ask(client, Batch.VERB_CANCEL, running, workflow="workflows/one"))
        assert error.violations[0].field == "workflow"
        error = await refused(ask(client, Batch.VERB_CANCEL, absent))
        assert (error.code, error.metadata["resource"]) == ("NOT_FOUND", "executions/none")
        error = await refused(
            client.executions.GetBatch(
                pb.GetBatchRequest(name="batches/none"), metadata=client.metadata
            )
        )
        assert error.code == "NOT_FOUND"


async def test_killed_in_the_middle_it_goes_on_and_retries_none_twice(world: World) -> None:
    mended = False

    async def work(_: object) -> dict[str, str]:
        if not mended:
            raise AgentError(grpc.StatusCode.FAILED_PRECONDITION)
        return {}

    count = 250
    failed = pb.ExecutionFilter(states=[State.STATE_FAILED])
    async with world.agent(text__one=work):
        async with world.process() as first:
            await first.client.create(ONE)
            names = await start_many(first.client, count)
            for name in names:
                assert (await first.client.wait(name)).state == State.STATE_FAILED
            mended = True
            batch = await ask(first.client, Batch.VERB_RETRY, failed)
            assert batch.matched == count
            get = pb.GetBatchRequest(name=batch.name)
            async with asyncio.timeout(30):
                while not batch.done:
                    batch = await first.client.executions.GetBatch(
                        get, metadata=first.client.metadata
                    )
            await first.process.kill()
        await let_leases_end(world.database_url)
        async with world.process() as second:
            ended = await wait(second.client, batch)
            assert (ended.done, ended.failed) == (count, 0)
            rows = await run(
                world.database_url,
                "SELECT retry_of, count(*) FROM execution WHERE retry_of IS NOT NULL"
                " GROUP BY retry_of",
            )
            assert {f"executions/{old}": new for old, new in rows} == dict.fromkeys(names, 1)


async def test_one_that_cannot_be_read_keeps_no_other_from_being_retried(world: World) -> None:
    async def work(_: object) -> dict[str, str]:
        raise AgentError(grpc.StatusCode.FAILED_PRECONDITION)

    async with world.agent(text__one=work), world.service() as client:
        await client.create(ONE)
        names = await start_many(client, 3, team="a")
        for name in names:
            await client.wait(name)
        poisoned = names[1].removeprefix("executions/")
        await run(
            world.database_url,
            f"UPDATE execution SET snapshot = '[]' WHERE execution_id = '{poisoned}'",
        )
        wanted = pb.ExecutionFilter(labels={"team": "a"})
        ended = await wait(client, await ask(client, Batch.VERB_RETRY, wanted))
        assert (ended.state, ended.done, ended.failed) == (Batch.STATE_SUCCEEDED, 2, 1)
        [failure] = ended.failures
        assert failure.execution == names[1]
        assert from_status(failure.error).code == "INTERNAL"
