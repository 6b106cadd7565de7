"""ExecutionService as a whole, and the methods that read one: get, follow, wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from brikk.workflow.v1 import execution_pb2, execution_service_pb2
from brikk_shared.call import organization
from brikk_shared.errors import not_found
from brikk_workflow.api.batches import BatchMethods
from brikk_workflow.api.execution_messages import (
    to_execution,
    to_full_execution,
    to_history_entry,
)
from brikk_workflow.api.history import HistoryMethods
from brikk_workflow.api.parts import POLL, Context, id_of
from brikk_workflow.api.searching import SearchMethods
from brikk_workflow.api.starting import StartMethods
from brikk_workflow.api.verbs import VerbMethods
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.store import executions
from brikk_workflow.store.progress import Told, get_progress

DEFAULT_WAIT = timedelta(seconds=30)
WATCH_BATCH = 500


class ExecutionServicer(StartMethods, VerbMethods, SearchMethods, BatchMethods, HistoryMethods):
    """All methods, of the executions of the caller's organisation; here, those that read."""

    async def GetExecution(
        self, request: execution_service_pb2.GetExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Reads one."""
        if request.view == execution_service_pb2.EXECUTION_VIEW_BASIC:
            return to_execution(await self._read(request.name))
        return await self._show(request.name)

    async def WatchExecution(
        self, request: execution_service_pb2.WatchExecutionRequest, context: Context
    ) -> AsyncIterator[execution_service_pb2.WatchExecutionResponse]:
        """Streams history with the execution as it stands, until it has ended."""
        seen, silent = request.after_sequence, timedelta(0)
        told: Told = {}
        with self._parts.changes.subscribe(id_of(request.name)) as subscription:
            while True:
                record, progress = await self._read_progress(request.name)
                entries = await self._history(record, after=seen, limit=WATCH_BATCH)
                seen = entries[-1].sequence if entries else seen
                behind = seen < record.state.sequence
                ended = record.state.status.terminal and not behind
                if entries or ended or progress != told or silent >= self._parts.heartbeat:
                    yield execution_service_pb2.WatchExecutionResponse(
                        execution=await self._read_full(request.name, with_input=False),
                        entries=[to_history_entry(entry) for entry in entries],
                    )
                    silent, told = timedelta(0), progress
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
        record = await self._until_ended(id_of(request.name), timeout)
        if request.view == execution_service_pb2.EXECUTION_VIEW_BASIC:
            return to_execution(record)
        return await self._show(request.name)

    async def _show(self, name: str) -> execution_pb2.WorkflowExecution:
        async def load() -> tuple[execution_pb2.WorkflowExecution, bool]:
            execution = await self._read_full(name)
            return execution, execution.HasField("end_time")

        return await self._parts.finished.answer(id_of(name), "full", load)

    async def _read_full(
        self, name: str, *, with_input: bool = True
    ) -> execution_pb2.WorkflowExecution:
        async with self._parts.database.reading() as connection:
            record = await executions.get_execution(connection, organization(), id_of(name))
            if record is None:
                raise not_found(name)
            outputs = await executions.get_step_outputs(
                connection, record.execution_id, record.state.steps.keys()
            )
            progress = await _progress(connection, record)
        workflow = await self._parts.definitions.get(
            record.organization, record.workflow_id, record.version
        )
        return to_full_execution(record, workflow, outputs, progress, with_input=with_input)

    async def _read_progress(self, name: str) -> tuple[ExecutionRecord, Told]:
        """Returns an execution, and what agents tell of its attempts."""
        async with self._parts.database.reading() as connection:
            record = await executions.get_execution(connection, organization(), id_of(name))
            if record is None:
                raise not_found(name)
            return record, await _progress(connection, record)


async def _progress(connection: AsyncConnection, record: ExecutionRecord) -> Told:
    if record.state.status.terminal:
        return {}
    return await get_progress(connection, record.execution_id)
