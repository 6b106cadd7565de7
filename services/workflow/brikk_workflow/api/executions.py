"""ExecutionService: start, follow and cancel executions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import grpc

from brikk.workflow.v1 import (
    execution_pb2,
    execution_service_pb2,
    execution_service_pb2_grpc,
)
from brikk_shared.call import current_call, organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, Reason, not_found
from brikk_shared.pagination import next_token, page_of
from brikk_shared.structs import from_struct
from brikk_workflow.api.execution_messages import (
    State,
    to_execution,
    to_full_execution,
    to_history_entry,
    to_result,
)
from brikk_workflow.api.workflows import workflow_id_of
from brikk_workflow.domain.decision import HistoryEntry
from brikk_workflow.domain.record import ExecutionRecord, WishKind
from brikk_workflow.domain.schema import check_input
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.replica import Replica, Start
from brikk_workflow.store import executions
from brikk_workflow.store.wishes import record_wish

Context = grpc.aio.ServicerContext[Any, Any]

POLL = timedelta(seconds=1)
"""How often a follower reads an execution that another replica may run."""
HEARTBEAT = timedelta(seconds=15)
"""Longest silence of a watch."""
DEFAULT_WAIT = timedelta(seconds=30)
WATCH_BATCH = 500


class ExecutionServicer(execution_service_pb2_grpc.ExecutionServiceServicer):
    """The executions of the caller's organisation."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        definitions: Definitions,
        replica: Replica,
        changes: Changes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._definitions = definitions
        self._replica = replica
        self._changes = changes

    async def StartExecution(
        self, request: execution_service_pb2.StartExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Begins one, or finds what the request id began before; then waits if asked to."""
        while True:
            order = await self._order(request)
            record = await self._replica.start(order) or await self._started_before(order)
            if record is not None:
                break
            # A newer version was committed meanwhile: it is the one that was asked for.
            self._definitions.outdated(organization(), order.workflow.definition.id)
        if not request.HasField("wait_timeout"):
            return to_execution(record)
        timeout = request.wait_timeout.ToTimedelta()
        return to_result(await self._until_ended(record.execution_id, timeout))

    async def GetExecution(
        self, request: execution_service_pb2.GetExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Reads one."""
        if request.view == execution_service_pb2.EXECUTION_VIEW_BASIC:
            return to_execution(await self._read(request.name))
        return await self._read_full(request.name)

    async def ListExecutions(
        self, request: execution_service_pb2.ListExecutionsRequest, context: Context
    ) -> execution_service_pb2.ListExecutionsResponse:
        """Reads a page."""
        page = page_of(request)
        async with self._database.reading() as connection:
            records = await executions.list_executions(
                connection,
                organization(),
                workflow_id=workflow_id_of(request.workflow) if request.workflow else "",
                status=_to_status(request.state),
                before=page.cursor,
                limit=page.size + 1,
            )
        shown = records[: page.size]
        return execution_service_pb2.ListExecutionsResponse(
            executions=[to_execution(record) for record in shown],
            next_page_token=(
                next_token(request, shown[-1].execution_id) if len(records) > page.size else ""
            ),
        )

    async def WatchExecution(
        self, request: execution_service_pb2.WatchExecutionRequest, context: Context
    ) -> AsyncIterator[execution_service_pb2.WatchExecutionResponse]:
        """Streams history with the execution as it stands, until it has ended."""
        seen, silent = request.after_sequence, timedelta(0)
        with self._changes.subscribe(_id_of(request.name)) as subscription:
            while True:
                record = await self._read(request.name)
                entries = await self._history(record, after=seen, limit=WATCH_BATCH)
                seen = entries[-1].sequence if entries else seen
                behind = seen < record.state.sequence
                ended = record.state.status.terminal and not behind
                if entries or ended or silent >= HEARTBEAT:
                    yield execution_service_pb2.WatchExecutionResponse(
                        execution=await self._read_full(request.name, with_input=False),
                        entries=[to_history_entry(entry) for entry in entries],
                    )
                    silent = timedelta(0)
                if ended:
                    return
                if not behind:
                    await subscription.changed(POLL)
                    silent += POLL

    async def WaitExecution(
        self, request: execution_service_pb2.WaitExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Waits for the end, then reads."""
        timeout = request.timeout.ToTimedelta() if request.HasField("timeout") else DEFAULT_WAIT
        record = await self._until_ended(_id_of(request.name), timeout)
        if request.view == execution_service_pb2.EXECUTION_VIEW_BASIC:
            return to_execution(record)
        return await self._read_full(request.name)

    async def CancelExecution(
        self, request: execution_service_pb2.CancelExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Records the wish in the inbox; the replica that holds the execution fulfils it."""
        execution_id = _id_of(request.name)
        async with self._database.transaction() as connection:
            record = await record_wish(
                connection,
                self._database,
                organization(),
                execution_id,
                kind=WishKind.CANCEL,
                attributes={"reason": request.reason},
                request_id=request.request_id,
                now=self._clock.now(),
            )
        if record is None:
            raise not_found(request.name)
        self._replica.poke(execution_id)
        return to_execution(record)

    async def ListHistory(
        self, request: execution_service_pb2.ListHistoryRequest, context: Context
    ) -> execution_service_pb2.ListHistoryResponse:
        """Reads a page of history."""
        page = page_of(request, default=200, cap=1000)
        record = await self._read(request.parent)
        # A forged cursor that is no number starts at the beginning.
        after = int(page.cursor) if page.cursor.isdecimal() and len(page.cursor) < 19 else 0
        entries = await self._history(record, after=after, limit=page.size + 1)
        shown = entries[: page.size]
        return execution_service_pb2.ListHistoryResponse(
            entries=[to_history_entry(entry) for entry in shown],
            next_page_token=(
                next_token(request, str(shown[-1].sequence)) if len(entries) > page.size else ""
            ),
        )

    async def _order(self, request: execution_service_pb2.StartExecutionRequest) -> Start:
        """Returns what to start: the version that is named, the newest when none is."""
        workflow_id = workflow_id_of(request.workflow)
        _, _, version = request.workflow.partition("/versions/")
        if version:
            workflow = await self._definitions.get(organization(), workflow_id, int(version))
        else:
            workflow = await self._definitions.newest(organization(), workflow_id)
        order = Start(
            organization=organization(),
            workflow=workflow,
            newest=not version,
            input=from_struct(request.input),
            labels=dict(request.labels),
            request_id=request.request_id,
            traceparent=current_call().traceparent,
        )
        if workflow.input_schema is not None:
            check_input(workflow.input_schema, order.input, workflow_id)
        return order

    async def _started_before(self, order: Start) -> ExecutionRecord | None:
        """Returns what the request id began before, None when it began nothing."""
        if not order.request_id:
            return None
        async with self._database.reading() as connection:
            record = await executions.get_execution_by_request(
                connection, order.organization, order.request_id
            )
        if record is not None and (record.workflow_id, record.input, record.labels) != (
            order.workflow.definition.id,
            order.input,
            order.labels,
        ):
            raise InvalidArgument(
                Reason.REQUEST_ID_REUSED,
                f"request id {order.request_id} was used for another start",
                metadata={"request_id": order.request_id},
            )
        return record

    async def _until_ended(self, execution_id: str, timeout: timedelta) -> ExecutionRecord:
        """Returns an execution once it has ended, or as it stands after the timeout."""
        until = self._clock.now() + timeout
        with self._changes.subscribe(execution_id, only_the_end=True) as subscription:
            while True:
                record = subscription.ended or await self._glance(execution_id)
                left = until - self._clock.now()
                if record.state.status.terminal or left <= timedelta(0):
                    return record
                await subscription.changed(min(left, POLL))

    async def _glance(self, execution_id: str) -> ExecutionRecord:
        """Returns an execution from memory when it is held here, else from the store."""
        held = self._replica.held(organization(), execution_id)
        return held or await self._read(f"executions/{execution_id}")

    async def _read(self, name: str) -> ExecutionRecord:
        async with self._database.reading() as connection:
            record = await executions.get_execution(connection, organization(), _id_of(name))
        if record is None:
            raise not_found(name)
        return record

    async def _read_full(
        self, name: str, *, with_input: bool = True
    ) -> execution_pb2.WorkflowExecution:
        async with self._database.reading() as connection:
            record = await executions.get_execution(connection, organization(), _id_of(name))
            if record is None:
                raise not_found(name)
            outputs = await executions.get_outputs(connection, [record.execution_id])
        workflow = await self._definitions.get(
            record.organization, record.workflow_id, record.version
        )
        return to_full_execution(
            record, workflow, outputs[record.execution_id], with_input=with_input
        )

    async def _history(
        self, record: ExecutionRecord, *, after: int, limit: int
    ) -> Sequence[HistoryEntry]:
        if after >= record.state.sequence:
            return ()
        async with self._database.reading() as connection:
            return await executions.list_history(
                connection, record.execution_id, after=after, limit=limit
            )


def _id_of(name: str) -> str:
    return name.removeprefix("executions/")


def _to_status(state: State.ValueType) -> ExecutionStatus | None:
    return None if not state else ExecutionStatus[State.Name(state).removeprefix("STATE_")]
