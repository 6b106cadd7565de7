"""Workflows tried out and drawn over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import workflow_service_pb2 as pb
from brikk_shared.errors import Reason
from brikk_shared.structs import from_struct, from_value, to_struct
from support.refusals import refused
from support.workflows import WorkflowClient, World

YAML = """
name: trial
input_schema: {type: object, required: [items]}
steps:
  - id: each
    map:
      over: input.items
      tolerate: 1
      steps:
        - {id: ask, call: {capability: text.ask, input: {n: "${item}"}}}
output: "${steps.each.output}"
"""
ENDLESS = """
name: endless
steps:
  - id: round
    loop: {while: "true", max_iterations: 100000, steps: [{id: put, set: {values: {n: 1}}}]}
"""
State = execution_pb2.WorkflowExecution.State
Format = pb.RenderWorkflowRequest


@pytest.fixture
async def client(tmp_path: Path, database_url: str) -> AsyncIterator[WorkflowClient]:
    async with World(tmp_path, database_url).open() as world, world.service() as client:
        yield client


async def tried(
    client: WorkflowClient, yaml: str, canned: str = "", **given: object
) -> pb.TestWorkflowResponse:
    return await client.workflows.TestWorkflow(
        pb.TestWorkflowRequest(
            source=pb.DefinitionSource(yaml=yaml), input=to_struct(given), canned=canned
        ),
        metadata=client.metadata,
        timeout=30,
    )


async def drawn(
    client: WorkflowClient,
    name: str,
    *,
    execution: str = "",
    picture: pb.RenderWorkflowRequest.Format.ValueType = Format.FORMAT_MERMAID,
) -> str:
    answer = await client.workflows.RenderWorkflow(
        pb.RenderWorkflowRequest(name=name, execution=execution, format=picture),
        metadata=client.metadata,
        timeout=20,
    )
    return answer.text


async def test_a_definition_is_tried_out(client: WorkflowClient) -> None:
    canned = "answers: {text.ask: {a: 1}, each/1/ask: {$fails: {code: NOT_FOUND, message: gone}}}"
    trial = await tried(client, YAML, canned, items=[1, 2])
    assert trial.state == State.STATE_SUCCEEDED
    assert from_value(trial.output) == [{"a": 1.0}, None]
    steps = {each.path: each for each in trial.steps}
    assert from_struct(steps["each/0/ask"].input) == {"n": 1.0}
    assert steps["each/1/ask"].problem == "gone"
    stored = await client.workflows.ListWorkflows(
        pb.ListWorkflowsRequest(), metadata=client.metadata, timeout=20
    )
    assert not stored.workflows


async def test_what_cannot_be_tried_out(client: WorkflowClient) -> None:
    assert (await refused(tried(client, "name: x"))).reason is Reason.INVALID_WORKFLOW
    assert (await refused(tried(client, YAML))).reason is Reason.INVALID_INPUT
    error = await refused(tried(client, YAML, "answers: {a: 1}", items=[]))
    assert error.reason is Reason.INVALID_FIELD
    assert error.message == ("answers.a: line 1, column 14: expected an object, found a number")


async def test_a_trial_is_given_up(client: WorkflowClient) -> None:
    trial = await tried(client, ENDLESS)
    assert trial.state in (State.STATE_RUNNING, State.STATE_FAILED)
    assert len(trial.steps) == 1000


async def test_a_workflow_is_drawn_with_and_without_an_execution(client: WorkflowClient) -> None:
    await client.create(YAML)
    assert "subgraph step_each" in await drawn(client, "workflows/trial")
    dot = await drawn(client, "workflows/trial", picture=Format.FORMAT_DOT)
    assert dot.startswith('digraph "trial" {')
    ended = await client.run("trial", {"items": []})
    assert "class step_each succeeded" in await drawn(
        client, "workflows/trial", execution=ended.name
    )


async def test_what_cannot_be_drawn(client: WorkflowClient) -> None:
    await client.create(YAML)
    ended = await client.run("trial", {"items": []})
    await client.create(ENDLESS)
    missing = await refused(drawn(client, "workflows/other"))
    assert missing.reason is Reason.RESOURCE_NOT_FOUND
    missing = await refused(drawn(client, "workflows/trial", execution="executions/0"))
    assert missing.reason is Reason.RESOURCE_NOT_FOUND
    another = await refused(drawn(client, "workflows/endless", execution=ended.name))
    assert another.reason is Reason.INVALID_FIELD
