"""The verbs of ExecutionService: what people and programs ask of executions under way."""

from __future__ import annotations

from typing import Protocol

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import current_call, organization
from brikk_shared.errors import FailedPrecondition, Reason, invalid_field, not_found
from brikk_shared.structs import from_struct, from_value
from brikk_workflow.api.execution_messages import to_execution
from brikk_workflow.api.parts import Context, Methods, id_of
from brikk_workflow.domain.adoption import unfit
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.schema import check_input
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.beginning import no_step
from brikk_workflow.store.wishes import change_version, record_wish


class _VerbRequest(Protocol):
    name: str
    request_id: str


class Move:
    """That an execution is to go on by another version, which is decided once it is locked."""

    def __init__(self, ran: CompiledWorkflow, wanted: CompiledWorkflow) -> None:
        self.wanted = wanted
        self.admitted = False
        self._ran = ran

    def admit(self, record: ExecutionRecord) -> None:
        """Allows it if nothing that was done would have been done otherwise.

        Raises:
            FailedPrecondition: WRONG_STATE, the execution is not quarantined, or a step of it was
                begun by another definition.
        """
        name, status = f"executions/{record.execution_id}", record.state.status
        if status is not ExecutionStatus.QUARANTINED or record.version != self._ran.version:
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"{name} is {status.name} by version {record.version}; another version is for one "
                f"that is QUARANTINED by version {self._ran.version}",
                metadata={
                    "resource": name,
                    "state": status.name,
                    "version": str(record.version),
                    "ran": str(self._ran.version),
                },
            )
        step_id = unfit(self.wanted.definition, self._ran.definition, record.state)
        if step_id:
            raise FailedPrecondition(
                Reason.WRONG_STATE,
                f"step {step_id} of {name} was begun, and version {self.wanted.version} does not "
                "have it as it was",
                metadata={
                    "resource": name,
                    "step": step_id,
                    "version": str(self.wanted.version),
                },
            )
        self.admitted = True


class VerbMethods(Methods):
    """Each wish is recorded in the inbox; the replica that holds the execution fulfils it."""

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks for its end."""
        attributes: dict[str, Json] = {"reason": request.reason}
        if request.compensate:
            attributes["compensate"] = True
        return await self._ask(WishKind.CANCEL, request, attributes)

    async def PauseExecution(
        self, request: pb.PauseExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks it to stop between two calls."""
        return await self._ask(WishKind.PAUSE, request, {"reason": request.reason})

    async def ResumeExecution(
        self, request: pb.ResumeExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks it to go on, be it by another version."""
        if not request.workflow_version:
            return await self._ask(WishKind.RESUME, request, {})
        record = await self._read(request.name)
        ran = await self._parts.definitions.get(
            record.organization, record.workflow_id, record.version
        )
        wanted, _ = await self._parts.beginner.version(organization(), request.workflow_version)
        if wanted.definition.id != record.workflow_id:
            raise invalid_field(
                "workflow_version",
                f"must be of workflows/{record.workflow_id}, which the execution runs",
            )
        if wanted.input_schema is not None:
            check_input(wanted.input_schema, record.input, record.workflow_id)
        attributes: dict[str, Json] = {"version": wanted.version}
        return await self._ask(WishKind.RESUME, request, attributes, move=Move(ran, wanted))

    async def TerminateExecution(
        self, request: pb.TerminateExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks for its end, with nothing done for it any more."""
        return await self._ask(WishKind.TERMINATE, request, {"reason": request.reason})

    async def SkipStep(
        self, request: pb.SkipStepRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks it to do without a step."""
        record = await self._read(request.name)
        ran = await self._parts.definitions.get(
            record.organization, record.workflow_id, record.version
        )
        if request.step.rpartition("/")[2] not in ran.steps:
            raise no_step("step", request.step, ran)
        wish: dict[str, Json] = {
            "step": request.step,
            "by": current_call().identity.subject,
            "reason": request.reason,
        }
        if request.HasField("output"):
            wish["output"] = from_struct(request.output)
        return await self._ask(WishKind.SKIP, request, wish)

    async def SignalExecution(
        self, request: pb.SignalExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Hands a signal to the step that waits for it, or will."""
        data = from_value(request.data) if request.HasField("data") else None
        attributes: dict[str, Json] = {"name": request.signal, "data": data}
        return await self._ask(WishKind.SIGNAL, request, attributes)

    async def _ask(
        self,
        kind: WishKind,
        request: _VerbRequest,
        attributes: dict[str, Json],
        move: Move | None = None,
    ) -> execution_pb2.WorkflowExecution:
        parts, execution_id = self._parts, id_of(request.name)
        async with parts.database.transaction() as connection:
            record = await record_wish(
                connection,
                parts.database,
                organization(),
                execution_id,
                kind=kind,
                attributes=attributes,
                request_id=request.request_id,
                now=parts.clock.now(),
                admit=move.admit if move else None,
            )
            if move and move.admitted:
                await change_version(
                    connection,
                    execution_id,
                    version=move.wanted.version,
                    concurrency=move.wanted.definition.concurrency,
                )
        if record is None:
            raise not_found(request.name)
        parts.replica.poke(execution_id)
        return to_execution(record)
