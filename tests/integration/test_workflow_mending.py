"""A quarantined execution goes on by another version, if nothing that was done is undone by it."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as agent_pb
from brikk.workflow.v1 import workflow_service_pb2
from brikk_shared.errors import Reason
from brikk_shared.structs import from_struct, from_value
from support.refusals import refused
from support.verbs import ask, until
from support.workflows import AgentError, State, WorkflowClient, World, echo

FLOW = """
name: flow
steps:
  - id: first
    call: {capability: text.one, input: {n: "${input.n}"}}
  - id: second
    call: {capability: text.two, input: {n: "${steps.first.output.n}"}}
    at_most_once: suspend
output: "${steps.second.output.n}"
"""


async def update(client: WorkflowClient, yaml: str) -> str:
    source = workflow_service_pb2.DefinitionSource(yaml=yaml)
    updated = await client.workflows.UpdateWorkflow(
        workflow_service_pb2.UpdateWorkflowRequest(name="workflows/flow", source=source),
        metadata=client.metadata,
        timeout=20,
    )
    return f"workflows/flow/versions/{updated.latest_version}"


async def gone(_: agent_pb.ExecuteRequest) -> dict[str, int]:
    raise AgentError(grpc.StatusCode.UNAVAILABLE)


async def test_it_goes_on_by_a_version_that_keeps_what_was_done(world: World) -> None:
    async with (
        world.agent(text__one=echo(), text__two=gone, text__other=echo()) as agent,
        world.service() as client,
    ):
        await client.create(FLOW)
        name = await client.start("flow", {"n": 1})
        await until(client, name, State.STATE_QUARANTINED)

        async def resume(version: str, request_id: str = "") -> object:
            return await ask(
                client, "ResumeExecution", name, workflow_version=version, request_id=request_id
            )

        undone = await update(client, FLOW.replace("text.one", "text.other"))
        error = await refused(resume(undone))
        assert (error.code, error.reason) == ("FAILED_PRECONDITION", Reason.WRONG_STATE)
        assert error.metadata["step"] == "first"
        without = await update(client, FLOW.replace("second", "another"))
        assert (await refused(resume(without))).metadata["step"] == "second"
        strict = await update(
            client, FLOW.replace("steps:", "input_schema: {required: [m]}\nsteps:")
        )
        assert (await refused(resume(strict))).reason is Reason.INVALID_INPUT
        await client.create(FLOW.replace("name: flow", "name: strange"))
        error = await refused(resume("workflows/strange/versions/1"))
        assert error.violations[0].field == "workflow_version"
        assert (await refused(resume("workflows/flow/versions/99"))).code == "NOT_FOUND"

        mended = await update(client, FLOW.replace("text.two", "text.other"))
        await asyncio.gather(*(resume(mended, "r1") for _ in range(3)))
        ended = await client.wait(name)
        assert (ended.state, from_value(ended.output)) == (State.STATE_SUCCEEDED, 1)
        assert ended.workflow_version == mended
        assert agent.calls == Counter({"text.one": 1, "text.two": 1, "text.other": 1})
        history = await client.history(name)
        assert [entry.sequence for entry in history] == list(range(1, len(history) + 1))
        [resumed] = [each for each in history if each.type == "execution.resumed"]
        assert from_struct(resumed.attributes)["version"] == 5


async def test_what_runs_keeps_its_version(world: World) -> None:
    async with world.service() as client:
        await client.create(FLOW)
        name = await client.start("flow", {"n": 1})
        version = await update(client, FLOW.replace("text.two", "text.other"))
        error = await refused(ask(client, "ResumeExecution", name, workflow_version=version))
        assert (error.reason, error.metadata["state"]) == (Reason.WRONG_STATE, "RUNNING")
