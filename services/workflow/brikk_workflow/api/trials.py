"""WorkflowService: try a definition out, and draw one."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from brikk.workflow.v1 import execution_pb2, workflow_service_pb2, workflow_service_pb2_grpc
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import Reason, invalid_field, not_found
from brikk_shared.structs import from_struct, to_struct, to_value
from brikk_workflow.api.definitions import accept_source, refusal, workflow_id_of
from brikk_workflow.api.execution_messages import to_error
from brikk_workflow.domain.canned import read_canned
from brikk_workflow.domain.dot import to_dot
from brikk_workflow.domain.mermaid import to_mermaid
from brikk_workflow.domain.payload import check
from brikk_workflow.domain.picture import draw
from brikk_workflow.domain.rehearsal import Rehearsal, Rehearsed
from brikk_workflow.domain.schema import check_input
from brikk_workflow.store import executions, workflows

MAX_DECISIONS = 10_000
MAX_SECONDS = 5.0
MAX_BYTES = 1 << 20

Context = grpc.aio.ServicerContext[Any, Any]


class TrialMethods(workflow_service_pb2_grpc.WorkflowServiceServicer):
    """The methods that store nothing and start nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def TestWorkflow(
        self, request: workflow_service_pb2.TestWorkflowRequest, context: Context
    ) -> workflow_service_pb2.TestWorkflowResponse:
        """Runs a definition without agents."""
        workflow = accept_source(request.source)
        canned = read_canned(request.canned)
        if isinstance(canned, list):
            raise refusal(Reason.INVALID_FIELD, canned)
        given = from_struct(request.input)
        check(given, "input")
        if workflow.input_schema is not None:
            check_input(workflow.input_schema, given, workflow.definition.id)
        rehearsal = Rehearsal(workflow, given, canned)
        give_up = self._clock.monotonic() + MAX_SECONDS
        decisions = 0
        while (
            decisions < MAX_DECISIONS and self._clock.monotonic() < give_up and rehearsal.advance()
        ):
            decisions += 1
            await asyncio.sleep(0)  # others get their turn
        return _to_response(rehearsal)

    async def RenderWorkflow(
        self, request: workflow_service_pb2.RenderWorkflowRequest, context: Context
    ) -> workflow_service_pb2.RenderWorkflowResponse:
        """Reads one, or an execution of it, and draws it."""
        workflow_id = workflow_id_of(request.name)
        async with self._database.reading() as connection:
            if not request.execution:
                newest = await workflows.get_workflow(connection, organization(), workflow_id)
                if newest is None:
                    raise not_found(request.name)
                picture = draw(newest.latest.definition, {})
            else:
                execution_id = request.execution.removeprefix("executions/")
                record = await executions.get_execution(connection, organization(), execution_id)
                if record is None:
                    raise not_found(request.execution)
                if record.workflow_id != workflow_id:
                    raise invalid_field("execution", f"runs workflows/{record.workflow_id}")
                version = await workflows.get_version(
                    connection, organization(), workflow_id, record.version
                )
                if version is None:
                    raise not_found(request.name)
                picture = draw(version.definition, record.state.steps)
        is_dot = request.format == workflow_service_pb2.RenderWorkflowRequest.FORMAT_DOT
        text = to_dot(picture) if is_dot else to_mermaid(picture)
        return workflow_service_pb2.RenderWorkflowResponse(text=text)


def _to_response(rehearsal: Rehearsal) -> workflow_service_pb2.TestWorkflowResponse:
    state = rehearsal.state
    response = workflow_service_pb2.TestWorkflowResponse(
        state=execution_pb2.WorkflowExecution.State.Value(f"STATE_{state.status.name}"),
        error=to_error(state.failure),
    )
    size = 0
    for step in rehearsal.steps.values():
        message = _to_step(step)
        size += message.ByteSize()
        if size > MAX_BYTES:
            break
        response.steps.append(message)
    if rehearsal.output is not None:
        response.output.CopyFrom(to_value(rehearsal.output))
    return response


def _to_step(step: Rehearsed) -> workflow_service_pb2.TestedStep:
    message = workflow_service_pb2.TestedStep(
        path=step.path,
        state=execution_pb2.StepRun.State.Value(f"STATE_{step.status.name}"),
        attempts=step.attempts,
        problem=step.problem,
    )
    if step.input is not None:
        message.input.CopyFrom(to_struct(step.input))
    if step.output is not None:
        message.output.CopyFrom(to_value(step.output))
    return message
