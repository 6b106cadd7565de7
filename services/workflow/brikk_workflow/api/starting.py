"""How executions begin: from a workflow, or in place of one that ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import current_call, organization
from brikk_shared.errors import FailedPrecondition, InvalidArgument, Reason, invalid_field
from brikk_shared.structs import from_struct
from brikk_workflow.api.definitions import workflow_id_of
from brikk_workflow.api.execution_messages import to_execution, to_result
from brikk_workflow.api.parts import Context, Methods
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.schema import check_input
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.runtime.starts import Retried, Start
from brikk_workflow.store import executions

DEFAULT_PRIORITY = 5


class StartMethods(Methods):
    """Both answer once the execution is durable, and begin one execution for a request id."""

    async def StartExecution(
        self, request: pb.StartExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Begins one, or finds what the request id began before; then waits if asked to."""
        record = await self._begin(lambda: self._order(request))
        if not request.HasField("wait_timeout"):
            return to_execution(record)
        timeout = request.wait_timeout.ToTimedelta()
        return to_result(await self._until_ended(record.execution_id, timeout))

    async def RetryExecution(
        self, request: pb.RetryExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Begins one that goes on with the results of an old one."""
        old = await self._retried(request.name, request.from_step)
        status = old.record.state.status
        if not status.terminal or (status is ExecutionStatus.SUCCEEDED and not old.from_step):
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{request.name} is {status.name}; one is retried once it has FAILED or was "
                "CANCELLED or TERMINATED, or from_step says which of its steps to do again",
                metadata={"resource": request.name, "state": status.name},
            )
        return to_execution(await self._begin(lambda: self._retry_order(request, old)))

    async def _begin(self, make_order: Callable[[], Awaitable[Start]]) -> ExecutionRecord:
        while True:
            order = await make_order()
            record = await self._parts.replica.start(order) or await self._begun_before(order)
            if record is not None:
                return record
            # A newer version was committed meanwhile: it is the one that was asked for.
            self._parts.definitions.outdated(organization(), order.workflow.definition.id)

    async def _order(self, request: pb.StartExecutionRequest) -> Start:
        """Returns what to start: the version that is named, the newest when none is."""
        workflow, newest = await self._workflow(request.workflow)
        order = Start(
            organization=organization(),
            workflow=workflow,
            newest=newest,
            input=from_struct(request.input),
            labels=dict(request.labels),
            priority=request.priority if request.HasField("priority") else DEFAULT_PRIORITY,
            request_id=request.request_id,
            traceparent=current_call().traceparent,
        )
        _check(order)
        return order

    async def _retried(self, name: str, from_step: str) -> Retried:
        """Returns an execution with what it ran and what its steps returned."""
        record = await self._read(name)
        async with self._parts.database.reading() as connection:
            outputs = await executions.get_outputs(connection, [record.execution_id])
        ran = await self._parts.definitions.get(
            record.organization, record.workflow_id, record.version
        )
        return Retried(
            record=record,
            definition=ran.definition,
            outputs=outputs[record.execution_id],
            from_step=from_step,
        )

    async def _retry_order(self, request: pb.RetryExecutionRequest, retried: Retried) -> Start:
        """Returns what to start in place of an old execution: its version when none is named."""
        old = retried.record
        if request.workflow and workflow_id_of(request.workflow) != old.workflow_id:
            raise invalid_field(
                "workflow", f"must be workflows/{old.workflow_id}, which the execution ran"
            )
        ran = f"workflows/{old.workflow_id}/versions/{old.version}"
        workflow, newest = await self._workflow(request.workflow or ran)
        if request.from_step and request.from_step not in workflow.body.steps:
            raise no_step("from_step", request.from_step, workflow)
        order = Start(
            organization=organization(),
            workflow=workflow,
            newest=newest,
            input=old.input,
            labels=old.labels,
            priority=old.priority,
            request_id=request.request_id,
            traceparent=current_call().traceparent,
            retried=retried,
        )
        _check(order)
        return order

    async def _workflow(self, name: str) -> tuple[CompiledWorkflow, bool]:
        """Returns the version that is named, and whether that is to be the newest."""
        workflow_id = workflow_id_of(name)
        _, _, version = name.partition("/versions/")
        definitions = self._parts.definitions
        if version:
            return await definitions.get(organization(), workflow_id, int(version)), False
        return await definitions.newest(organization(), workflow_id), True

    async def _begun_before(self, order: Start) -> ExecutionRecord | None:
        """Returns what the request id began before, None when it began nothing."""
        if not order.request_id:
            return None
        async with self._parts.database.reading() as connection:
            record = await executions.get_execution_by_request(
                connection, order.organization, order.request_id
            )
        if record is not None and _asked(record, record.workflow_id) != _asked(
            order, order.workflow.definition.id
        ):
            raise InvalidArgument(
                Reason.REQUEST_ID_REUSED,
                f"request id {order.request_id} was used for another start",
                metadata={"request_id": order.request_id},
            )
        return record


def no_step(field: str, step_id: str, workflow: CompiledWorkflow) -> InvalidArgument:
    """Returns the refusal of a step that a version does not have."""
    version = f"workflows/{workflow.definition.id}/versions/{workflow.version}"
    return invalid_field(field, f"{version} has no step {step_id}")


def _asked(of: Start | ExecutionRecord, workflow_id: str) -> tuple[object, ...]:
    """Returns what a start is recognised by."""
    return (workflow_id, of.input, of.labels, of.priority, of.retry_of)


def _check(order: Start) -> None:
    if order.workflow.input_schema is not None:
        check_input(order.workflow.input_schema, order.input, order.workflow.definition.id)
