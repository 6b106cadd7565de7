"""Workflows and their versions, always of one organisation."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from brikk_shared.turns import take_turn
from brikk_workflow.domain.definition_json import (
    DefinitionJson,
    definition_from_json,
    definition_to_json,
)
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.store.tables import WORKFLOW, WORKFLOW_VERSION

_SAME_WORKFLOW = (WORKFLOW.c.organization == WORKFLOW_VERSION.c.organization) & (
    WORKFLOW.c.workflow_id == WORKFLOW_VERSION.c.workflow_id
)


async def get_workflow(
    connection: AsyncConnection, organization: str, workflow_id: str
) -> WorkflowRecord | None:
    """Returns a workflow with its newest version."""
    query = _workflows(organization).where(WORKFLOW.c.workflow_id == workflow_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _workflow(row)


async def newest_version(
    connection: AsyncConnection, organization: str, workflow_id: str
) -> int | None:
    """Returns the number of a workflow's newest version."""
    query = select(WORKFLOW.c.latest_version).where(
        WORKFLOW.c.organization == organization, WORKFLOW.c.workflow_id == workflow_id
    )
    return (await connection.execute(query)).scalar_one_or_none()


async def last_version(connection: AsyncConnection, organization: str, workflow_id: str) -> int:
    """Returns the number of the last version ever made under a name, 0 when there is none."""
    query = select(func.coalesce(func.max(WORKFLOW_VERSION.c.version), 0)).where(
        WORKFLOW_VERSION.c.organization == organization,
        WORKFLOW_VERSION.c.workflow_id == workflow_id,
    )
    last: int = (await connection.execute(query)).scalar_one()
    return last


async def list_workflows(
    connection: AsyncConnection, organization: str, *, after: str, limit: int
) -> list[WorkflowRecord]:
    """Returns workflows by id, those after `after`."""
    query = _workflows(organization).where(WORKFLOW.c.workflow_id > after)
    rows = await connection.execute(query.order_by(WORKFLOW.c.workflow_id).limit(limit))
    return [_workflow(row) for row in rows]


async def get_version(
    connection: AsyncConnection, organization: str, workflow_id: str, version: int
) -> VersionRecord | None:
    """Returns one version."""
    query = _versions(organization, workflow_id).where(WORKFLOW_VERSION.c.version == version)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _version(row)


async def list_versions(
    connection: AsyncConnection,
    organization: str,
    workflow_id: str,
    *,
    before: int | None,
    limit: int,
) -> list[VersionRecord]:
    """Returns versions, newest first, those below `before`."""
    query = _versions(organization, workflow_id)
    if before is not None:
        query = query.where(WORKFLOW_VERSION.c.version < before)
    rows = await connection.execute(query.order_by(WORKFLOW_VERSION.c.version.desc()).limit(limit))
    return [_version(row) for row in rows]


async def get_workflow_by_request(
    connection: AsyncConnection, organization: str, request_id: str
) -> WorkflowRecord | None:
    """Returns the workflow as a request left it, if the request made a version."""
    # Of one that was deleted nobody knows when it was created.
    first_time = func.coalesce(WORKFLOW.c.create_time, WORKFLOW_VERSION.c.create_time)
    query = (
        select(WORKFLOW_VERSION, first_time.label("first_time"))
        .outerjoin(WORKFLOW, _SAME_WORKFLOW)
        .where(
            WORKFLOW_VERSION.c.organization == organization,
            WORKFLOW_VERSION.c.request_id == request_id,
        )
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _workflow(row)


async def lock(connection: AsyncConnection, organization: str) -> None:
    """Makes other writers of the organisation's workflows wait until the transaction ends."""
    await take_turn(connection, f"workflows of {organization}")


async def add_version(
    connection: AsyncConnection, organization: str, record: WorkflowRecord, *, request_id: str
) -> None:
    """Adds the newest version of a workflow, and the workflow itself if need be; needs `lock`."""
    newest = record.latest
    updated = await connection.execute(
        update(WORKFLOW)
        .where(
            WORKFLOW.c.organization == organization,
            WORKFLOW.c.workflow_id == record.workflow_id,
        )
        .values(latest_version=newest.version)
    )
    if not updated.rowcount:
        await connection.execute(
            insert(WORKFLOW).values(
                organization=organization,
                workflow_id=record.workflow_id,
                latest_version=newest.version,
                create_time=record.create_time,
            )
        )
    await connection.execute(
        insert(WORKFLOW_VERSION).values(
            organization=organization,
            workflow_id=record.workflow_id,
            version=newest.version,
            definition=definition_to_json(newest.definition),
            request_id=request_id or None,
            create_time=newest.create_time,
        )
    )


async def delete_workflow(connection: AsyncConnection, organization: str, workflow_id: str) -> bool:
    """Deletes a workflow and leaves its versions; tells whether there was one. Needs `lock`."""
    gone = delete(WORKFLOW).where(
        WORKFLOW.c.organization == organization, WORKFLOW.c.workflow_id == workflow_id
    )
    return bool((await connection.execute(gone)).rowcount)


def _workflows(organization: str) -> Any:
    return (
        select(WORKFLOW_VERSION, WORKFLOW.c.create_time.label("first_time"))
        .join(WORKFLOW, _SAME_WORKFLOW & (WORKFLOW.c.latest_version == WORKFLOW_VERSION.c.version))
        .where(WORKFLOW.c.organization == organization)
    )


def _versions(organization: str, workflow_id: str) -> Any:
    return select(WORKFLOW_VERSION).where(
        WORKFLOW_VERSION.c.organization == organization,
        WORKFLOW_VERSION.c.workflow_id == workflow_id,
    )


def _workflow(row: Row[Any]) -> WorkflowRecord:
    return WorkflowRecord(
        workflow_id=row.workflow_id, latest=_version(row), create_time=row.first_time
    )


def _version(row: Row[Any]) -> VersionRecord:
    return VersionRecord(
        version=row.version,
        definition=definition_from_json(cast("DefinitionJson", row.definition)),
        create_time=row.create_time,
    )
