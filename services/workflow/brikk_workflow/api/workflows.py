"""WorkflowService: write, validate and read workflows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
from google.protobuf import empty_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.workflow.v1 import workflow_pb2, workflow_service_pb2
from brikk_shared.call import organization
from brikk_shared.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    Reason,
    invalid_field,
    not_found,
)
from brikk_shared.pagination import cut, page_of
from brikk_shared.times import to_timestamp
from brikk_workflow.api.definitions import (
    accept_source,
    read_source,
    to_message,
    to_problem,
    workflow_id_of,
)
from brikk_workflow.api.trials import TrialMethods
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.store import workflows

Context = grpc.aio.ServicerContext[Any, Any]


class WorkflowServicer(TrialMethods):
    """All methods, of the workflows of the caller's organisation; here, those that store."""

    async def CreateWorkflow(
        self, request: workflow_service_pb2.CreateWorkflowRequest, context: Context
    ) -> workflow_pb2.Workflow:
        """Adds version 1, or the next one to those of one that was deleted."""
        definition = accept_source(request.source).definition
        async with self._database.transaction() as connection:
            await workflows.lock(connection, organization())
            made = await _made(connection, request.request_id, definition)
            if made is not None:
                return made
            if await workflows.get_workflow(connection, organization(), definition.id) is not None:
                name = f"workflows/{definition.id}"
                raise AlreadyExists(
                    Reason.RESOURCE_EXISTS,
                    f"{name} exists already: update it",
                    metadata={"resource": name},
                )
            last = await workflows.last_version(connection, organization(), definition.id)
            record = _next(None, definition, self._clock.now(), last)
            if not request.validate_only:
                await workflows.add_version(
                    connection, organization(), record, request_id=request.request_id
                )
        return _to_workflow(record)

    async def GetWorkflow(
        self, request: workflow_service_pb2.GetWorkflowRequest, context: Context
    ) -> workflow_pb2.Workflow:
        """Reads one."""
        async with self._database.reading() as connection:
            record = await workflows.get_workflow(
                connection, organization(), workflow_id_of(request.name)
            )
        if record is None:
            raise not_found(request.name)
        return _to_workflow(record)

    async def ListWorkflows(
        self, request: workflow_service_pb2.ListWorkflowsRequest, context: Context
    ) -> workflow_service_pb2.ListWorkflowsResponse:
        """Reads a page."""
        page = page_of(request)
        async with self._database.reading() as connection:
            records = await workflows.list_workflows(
                connection, organization(), after=page.cursor, limit=page.size + 1
            )
        shown, token = cut(request, page, records, lambda record: record.workflow_id)
        return workflow_service_pb2.ListWorkflowsResponse(
            workflows=[_to_workflow(record) for record in shown],
            next_page_token=token,
        )

    async def UpdateWorkflow(
        self, request: workflow_service_pb2.UpdateWorkflowRequest, context: Context
    ) -> workflow_pb2.Workflow:
        """Adds the next version, unless nothing changed."""
        definition = accept_source(request.source).definition
        if definition.id != workflow_id_of(request.name):
            raise invalid_field("source", f"names {definition.id}, which is not {request.name}")
        async with self._database.transaction() as connection:
            await workflows.lock(connection, organization())
            made = await _made(connection, request.request_id, definition)
            if made is not None:
                return made
            current = await workflows.get_workflow(connection, organization(), definition.id)
            if current is None:
                raise not_found(request.name)
            if request.etag and request.etag != current.etag:
                raise Aborted(
                    Reason.ETAG_MISMATCH,
                    f"{request.name} is at etag {current.etag}: read it again",
                    metadata={"resource": request.name, "etag": current.etag},
                )
            if definition == current.latest.definition:
                return _to_workflow(current)
            record = _next(current, definition, self._clock.now(), current.latest.version)
            if not request.validate_only:
                await workflows.add_version(
                    connection, organization(), record, request_id=request.request_id
                )
        return _to_workflow(record)

    async def DeleteWorkflow(
        self, request: workflow_service_pb2.DeleteWorkflowRequest, context: Context
    ) -> empty_pb2.Empty:
        """Forgets one, but for what its executions need."""
        async with self._database.transaction() as connection:
            await workflows.lock(connection, organization())
            if not await workflows.delete_workflow(
                connection, organization(), workflow_id_of(request.name)
            ):
                raise not_found(request.name)
        return empty_pb2.Empty()

    async def ValidateWorkflow(
        self, request: workflow_service_pb2.ValidateWorkflowRequest, context: Context
    ) -> workflow_service_pb2.ValidateWorkflowResponse:
        """Reads a definition and forgets it."""
        workflow = read_source(request.source)
        if isinstance(workflow, list):
            return workflow_service_pb2.ValidateWorkflowResponse(
                problems=[to_problem(each) for each in workflow]
            )
        return workflow_service_pb2.ValidateWorkflowResponse(
            definition=to_message(workflow.definition)
        )

    async def ListWorkflowVersions(
        self, request: workflow_service_pb2.ListWorkflowVersionsRequest, context: Context
    ) -> workflow_service_pb2.ListWorkflowVersionsResponse:
        """Reads a page of versions."""
        page = page_of(request)
        workflow_id = workflow_id_of(request.parent)
        async with self._database.reading() as connection:
            if await workflows.get_workflow(connection, organization(), workflow_id) is None:
                raise not_found(request.parent)
            records = await workflows.list_versions(
                connection,
                organization(),
                workflow_id,
                before=_version_of(page.cursor) if page.cursor else None,
                limit=page.size + 1,
            )
        shown, token = cut(request, page, records, lambda record: str(record.version))
        return workflow_service_pb2.ListWorkflowVersionsResponse(
            versions=[_to_version(request.parent, record) for record in shown],
            next_page_token=token,
        )


def _version_of(cursor: str) -> int:
    # A cursor can be forged; one that is no number is as good as the first page's.
    return int(cursor) if cursor.isdecimal() and len(cursor) < 10 else 1


async def _made(
    connection: AsyncConnection, request_id: str, definition: WorkflowDefinition
) -> workflow_pb2.Workflow | None:
    """Returns what a request made when it was first sent."""
    if not request_id:
        return None
    record = await workflows.get_workflow_by_request(connection, organization(), request_id)
    if record is None:
        return None
    if record.latest.definition != definition:
        raise InvalidArgument(
            Reason.REQUEST_ID_REUSED,
            f"request id {request_id} was used for another definition",
            metadata={"request_id": request_id},
        )
    return _to_workflow(record)


def _next(
    current: WorkflowRecord | None, definition: WorkflowDefinition, now: datetime, last: int
) -> WorkflowRecord:
    return WorkflowRecord(
        workflow_id=definition.id,
        latest=VersionRecord(version=last + 1, definition=definition, create_time=now),
        create_time=now if current is None else current.create_time,
    )


def _to_workflow(record: WorkflowRecord) -> workflow_pb2.Workflow:
    return workflow_pb2.Workflow(
        name=f"workflows/{record.workflow_id}",
        latest_version=record.latest.version,
        definition=to_message(record.latest.definition),
        etag=record.etag,
        create_time=to_timestamp(record.create_time),
        update_time=to_timestamp(record.latest.create_time),
    )


def _to_version(parent: str, record: VersionRecord) -> workflow_pb2.WorkflowVersion:
    return workflow_pb2.WorkflowVersion(
        name=f"{parent}/versions/{record.version}",
        definition=to_message(record.definition),
        create_time=to_timestamp(record.create_time),
    )
