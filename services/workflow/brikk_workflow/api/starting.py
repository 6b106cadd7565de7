"""How executions begin: from a workflow, or in place of one that ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import Call, current_call, enter_call, organization
from brikk_shared.errors import BrikkError, FailedPrecondition, Reason, invalid_field
from brikk_shared.status import to_status
from brikk_shared.structs import from_struct
from brikk_workflow.api.execution_messages import to_execution, to_result
from brikk_workflow.api.parts import Context, Methods
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.runtime.starts import Start
from brikk_workflow.store.executions import get_outputs
from brikk_workflow.store.loading import Loaded

DEFAULT_PRIORITY = 5


class StartMethods(Methods):
    """All answer once what they begin is durable, and begin one execution for a request id."""

    async def StartExecution(
        self, request: pb.StartExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Begins one, or finds what the request id began before; then waits if asked to."""
        record = await self._parts.beginner.begin(lambda: self._order(request))
        if not request.HasField("wait_timeout"):
            return to_execution(record)
        timeout = request.wait_timeout.ToTimedelta()
        return to_result(await self._until_ended(record.execution_id, timeout))

    async def RetryExecution(
        self, request: pb.RetryExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Begins one that goes on with the results of an old one."""
        record = await self._read(request.name)
        status = record.state.status
        if not status.terminal or (status is ExecutionStatus.SUCCEEDED and not request.from_step):
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{request.name} is {status.name}; one is retried once it has FAILED or was "
                "CANCELLED or TERMINATED, or from_step says which of its steps to do again",
                metadata={"resource": request.name, "state": status.name},
            )
        async with self._parts.database.reading() as connection:
            outputs = await get_outputs(connection, [record.execution_id])
        begun = await self._parts.beginner.retry(
            Loaded(record=record, outputs=outputs[record.execution_id], wishes=()),
            from_step=request.from_step,
            workflow=request.workflow,
            request_id=request.request_id,
            traceparent=current_call().traceparent,
        )
        return to_execution(begun)

    async def BatchStartExecutions(
        self, request: pb.BatchStartExecutionsRequest, context: Context
    ) -> pb.BatchStartExecutionsResponse:
        """Begins all at once, so that their commits are few; each succeeds or fails by itself."""
        call = current_call()
        begun = await asyncio.gather(
            *(
                # The call has one audit entry, which goes with the first of its starts.
                self._begin_in(call if number == 0 else replace(call, audit=None), each)
                for number, each in enumerate(request.requests)
            ),
            return_exceptions=True,
        )
        return pb.BatchStartExecutionsResponse(results=map(_to_result, begun))

    async def _begin_in(self, call: Call, request: pb.StartExecutionRequest) -> ExecutionRecord:
        """Begins one of many, in a task of its own."""
        enter_call(call)
        if request.HasField("wait_timeout"):
            raise invalid_field("wait_timeout", "must not be set in a batch")
        return await self._parts.beginner.begin(lambda: self._order(request))

    async def _order(self, request: pb.StartExecutionRequest) -> Start:
        """Returns what to start: the version that is named, the newest when none is."""
        workflow, newest = await self._parts.beginner.version(organization(), request.workflow)
        return Start(
            organization=organization(),
            workflow=workflow,
            newest=newest,
            input=from_struct(request.input),
            labels=dict(request.labels),
            priority=request.priority if request.HasField("priority") else DEFAULT_PRIORITY,
            request_id=request.request_id,
            traceparent=current_call().traceparent,
        )


def _to_result(begun: ExecutionRecord | BaseException) -> pb.BatchStartResult:
    if isinstance(begun, BrikkError):
        return pb.BatchStartResult(error=to_status(begun))
    if isinstance(begun, BaseException):
        raise begun
    return pb.BatchStartResult(execution=to_execution(begun))
