"""Workflows over the API: as YAML or as messages, versioned, listed, refused by place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brikk.workflow.v1 import execution_service_pb2, workflow_pb2, workflow_service_pb2
from brikk_shared.errors import Reason
from support.refusals import refused
from support.workflows import State, WorkflowClient, World, echo

YAML = """
name: flow
description: First, then second.
budget: {calls: 10, cost: 0.25}
concurrency: 3
steps:
  - id: first
    call: {capability: text.one, input: {text: "${input.text}"}}
    retry: {max_attempts: 5, initial: 50ms, jitter: 0}
  - id: second
    when: steps.first.output.text != ''
    call: {capability: text.two, policy: least_in_flight}
    timeout: {start_to_close: 2s, heartbeat: 500ms}
    at_most_once: suspend
output: {text: "${steps.first.output.text}"}
"""
Source = workflow_service_pb2.DefinitionSource
PATTERNS = Path(__file__).parents[2] / "examples" / "patterns"


@pytest.fixture
async def client(tmp_path: Path, database_url: str) -> AsyncIterator[WorkflowClient]:
    async with World(tmp_path, database_url).open() as world, world.service() as client:
        yield client


async def create(
    client: WorkflowClient, yaml: str, *, request_id: str = "", validate_only: bool = False
) -> workflow_pb2.Workflow:
    return await client.workflows.CreateWorkflow(
        workflow_service_pb2.CreateWorkflowRequest(
            source=Source(yaml=yaml), request_id=request_id, validate_only=validate_only
        ),
        metadata=client.metadata,
        timeout=20,
    )


async def update(
    client: WorkflowClient, yaml: str, *, etag: str = "", request_id: str = ""
) -> workflow_pb2.Workflow:
    return await client.workflows.UpdateWorkflow(
        workflow_service_pb2.UpdateWorkflowRequest(
            name="workflows/flow", source=Source(yaml=yaml), etag=etag, request_id=request_id
        ),
        metadata=client.metadata,
        timeout=20,
    )


async def get(client: WorkflowClient, name: str = "workflows/flow") -> workflow_pb2.Workflow:
    return await client.workflows.GetWorkflow(
        workflow_service_pb2.GetWorkflowRequest(name=name), metadata=client.metadata, timeout=20
    )


async def test_a_message_and_its_yaml_are_one(client: WorkflowClient) -> None:
    made = await create(client, YAML)
    assert made.latest_version == 1
    assert [step.step_id for step in made.definition.steps] == ["first", "second"]
    assert list(made.definition.steps[1].after.step_ids) == ["first"]
    assert made.definition.steps[0].timeout.schedule_to_start.seconds == 60
    policies = [step.call.policy for step in made.definition.steps]
    assert policies == [
        workflow_pb2.CallStep.POLICY_BEST,
        workflow_pb2.CallStep.POLICY_LEAST_IN_FLIGHT,
    ]
    assert made.definition.budget == workflow_pb2.Budget(calls=10, cost=0.25)
    assert made.definition.concurrency == 3
    assert made.definition.steps[1].at_most_once == workflow_pb2.WorkflowStep.AT_MOST_ONCE_SUSPEND
    assert made.definition.steps[1].timeout.heartbeat.ToMilliseconds() == 500

    # The message that was returned, sent back, is the same definition: no new version.
    same = await client.workflows.UpdateWorkflow(
        workflow_service_pb2.UpdateWorkflowRequest(
            name=made.name, source=Source(definition=made.definition)
        ),
        metadata=client.metadata,
        timeout=20,
    )
    assert same == made == await get(client)


async def test_an_update_makes_a_version_and_keeps_the_old(client: WorkflowClient) -> None:
    made = await create(client, YAML)
    changed = YAML.replace("First, then second.", "Second after first.")
    updated = await update(client, changed, etag=made.etag)
    assert (updated.latest_version, updated.create_time) == (2, made.create_time)
    stale = await refused(update(client, YAML, etag=made.etag))
    assert (stale.code, stale.reason) == ("ABORTED", Reason.ETAG_MISMATCH)

    versions = await client.workflows.ListWorkflowVersions(
        workflow_service_pb2.ListWorkflowVersionsRequest(parent=made.name, page_size=1),
        metadata=client.metadata,
    )
    assert [each.name for each in versions.versions] == ["workflows/flow/versions/2"]
    older = await client.workflows.ListWorkflowVersions(
        workflow_service_pb2.ListWorkflowVersionsRequest(
            parent=made.name, page_size=1, page_token=versions.next_page_token
        ),
        metadata=client.metadata,
    )
    assert older.versions[0].definition == made.definition
    assert not older.next_page_token


async def test_what_is_deleted_starts_no_more_and_its_versions_live_on(
    tmp_path: Path, database_url: str
) -> None:
    async with World(tmp_path, database_url).open() as world, world.service() as client:
        made = await create(client, YAML, request_id="once")
        running = await client.start("flow", {"text": "x"})
        delete = workflow_service_pb2.DeleteWorkflowRequest(name=made.name)
        await client.workflows.DeleteWorkflow(delete, metadata=client.metadata)
        missing = (
            client.workflows.DeleteWorkflow(delete, metadata=client.metadata),
            get(client),
            update(client, YAML),
            client.start("flow"),
            client.start("flow/versions/1"),
        )
        for each in missing:
            assert (await refused(each)).reason is Reason.RESOURCE_NOT_FOUND
        assert await create(client, YAML, request_id="once") == made
        async with world.agent(text__one=echo(), text__two=echo()):
            assert (await client.wait(running)).state == State.STATE_SUCCEEDED
        again = await create(client, YAML)
        assert (again.latest_version, again.definition) == (2, made.definition)
        older = await client.start("flow/versions/1", {"text": "x"})
        assert older != running


async def test_a_request_id_gives_the_same_answer(client: WorkflowClient) -> None:
    answers = await asyncio.gather(*(create(client, YAML, request_id="r1") for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)
    changed = YAML.replace("First, then second.", "Second after first.")
    updated = await update(client, changed, request_id="r2")
    assert await update(client, changed, request_id="r2") == updated
    assert await create(client, YAML, request_id="r1") == answers[0]
    reused = await refused(create(client, changed, request_id="r1"))
    assert reused.reason == Reason.REQUEST_ID_REUSED


async def test_a_name_is_taken_once(client: WorkflowClient) -> None:
    results = await asyncio.gather(
        *(create(client, YAML) for _ in range(4)), return_exceptions=True
    )
    made = [each for each in results if isinstance(each, workflow_pb2.Workflow)]
    assert len(made) == 1
    error = await refused(create(client, YAML))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", Reason.RESOURCE_EXISTS)
    assert error.metadata["resource"] == "workflows/flow"


async def test_a_dry_run_stores_nothing(client: WorkflowClient) -> None:
    shown = await create(client, YAML, validate_only=True)
    assert shown.latest_version == 1
    assert (await refused(get(client))).code == "NOT_FOUND"


async def test_problems_are_told_all_at_once_with_their_place(client: WorkflowClient) -> None:
    broken = """name: flow
steps:
  - id: first
    after: [second]
    call: {capability: text.one, inptu: {}}
  - id: second
    after: [first]
    retry: {initial: soon}
    call: {capability: text.two}
"""
    answer = await client.workflows.ValidateWorkflow(
        workflow_service_pb2.ValidateWorkflowRequest(source=Source(yaml=broken)),
        metadata=client.metadata,
    )
    places = {(each.line, each.path) for each in answer.problems}
    assert (5, "steps[0].call.inptu") in places
    assert (8, "steps[1].retry.initial") in places
    error = await refused(create(client, broken))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_WORKFLOW)
    assert {each.field for each in error.violations} == {path for _, path in places}
    assert "line 5, column" in " ".join(each.description for each in error.violations)


@pytest.mark.parametrize(
    ("yaml", "line"),
    [
        ("name: [flow\nsteps: []", 2),
        ("name: flow\nsteps:\n\t- id: x", 3),
        ('name: flow\ndescription: "a\\0b"\nsteps: [{id: a, call: {capability: a.b}}]', 2),
        ('name: flow\ndescription: "a\\ud800b"\nsteps: [{id: a, call: {capability: a.b}}]', 2),
    ],
)
async def test_malformed_yaml_names_line_and_column(
    client: WorkflowClient, yaml: str, line: int
) -> None:
    answer = await client.workflows.ValidateWorkflow(
        workflow_service_pb2.ValidateWorkflowRequest(source=Source(yaml=yaml)),
        metadata=client.metadata,
    )
    assert answer.problems
    assert answer.problems[0].line == line
    assert answer.problems[0].column >= 1


async def test_a_cycle_is_named(client: WorkflowClient) -> None:
    message = workflow_pb2.WorkflowDefinition(workflow_id="loop")
    for step, before in (("a", "b"), ("b", "c"), ("c", "a")):
        added = message.steps.add(step_id=step)
        added.after.step_ids.append(before)
        added.call.capability = "text.one"
    error = await refused(
        client.workflows.CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(source=Source(definition=message)),
            metadata=client.metadata,
        )
    )
    assert error.reason == Reason.INVALID_WORKFLOW
    assert "->" in error.message


async def test_workflows_are_listed_by_name_in_pages(client: WorkflowClient) -> None:
    for name in ("beta", "alpha", "gamma"):
        await create(client, YAML.replace("name: flow", f"name: {name}"))
    shown: list[str] = []
    token = ""
    while not shown or token:
        page = await client.workflows.ListWorkflows(
            workflow_service_pb2.ListWorkflowsRequest(page_size=2, page_token=token),
            metadata=client.metadata,
        )
        shown += [each.name for each in page.workflows]
        token = page.next_page_token
    assert shown == ["workflows/alpha", "workflows/beta", "workflows/gamma"]
    error = await refused(
        client.workflows.ListWorkflows(
            workflow_service_pb2.ListWorkflowsRequest(page_token="!"), metadata=client.metadata
        )
    )
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", Reason.INVALID_PAGE_TOKEN)


async def test_a_source_has_one_form(client: WorkflowClient) -> None:
    error = await refused(
        client.workflows.CreateWorkflow(
            workflow_service_pb2.CreateWorkflowRequest(source=Source()), metadata=client.metadata
        )
    )
    assert error.reason == Reason.INVALID_FIELD
    assert error.violations[0].field == "source"


async def test_a_start_takes_the_newest_version_at_once(tmp_path: Path, postgres_url: str) -> None:
    """Also on a replica that has not heard of the update."""
    async with (
        World(tmp_path, postgres_url).open() as world,
        world.service() as one,
        world.service() as two,
    ):
        await create(one, YAML)
        await two.start("flow", {"text": "a"})
        await update(one, YAML.replace("First, then second.", "Second after first."))
        name = await two.start("flow", {"text": "a"})
        listed = await one.executions.ListExecutions(
            execution_service_pb2.ListExecutionsRequest(page_size=1), metadata=one.metadata
        )
        assert listed.executions[0].name == name
        assert listed.executions[0].workflow_version == "workflows/flow/versions/2"


async def test_steps_inside_others_are_read_as_they_were_written(client: WorkflowClient) -> None:
    yaml = (PATTERNS / "magentic.yaml").read_text()
    checked = await create(client, yaml, validate_only=True)
    made = await create(client, yaml)
    assert made.definition == checked.definition
    again = await client.workflows.UpdateWorkflow(
        workflow_service_pb2.UpdateWorkflowRequest(
            name=made.name, source=Source(definition=made.definition)
        ),
        metadata=client.metadata,
        timeout=20,
    )
    assert again == made
