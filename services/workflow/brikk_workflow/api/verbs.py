"""The verbs of ExecutionService: what people and programs ask of executions under way."""

from __future__ import annotations

from typing import Protocol

from brikk.workflow.v1 import execution_pb2
from brikk.workflow.v1 import execution_service_pb2 as pb
from brikk_shared.call import current_call, organization
from brikk_shared.errors import not_found
from brikk_shared.structs import from_struct
from brikk_workflow.api.execution_messages import to_execution
from brikk_workflow.api.parts import Context, Methods, id_of
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.beginning import no_step
from brikk_workflow.store.wishes import record_wish


class _VerbRequest(Protocol):
    name: str
    request_id: str


class VerbMethods(Methods):
    """Each wish is recorded in the inbox; the replica that holds the execution fulfils it."""

    async def CancelExecution(
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks for its end."""
        return await self._ask(WishKind.CANCEL, request, {"reason": request.reason})

    async def PauseExecution(
        self, request: pb.PauseExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks it to stop between two calls."""
        return await self._ask(WishKind.PAUSE, request, {"reason": request.reason})

    async def ResumeExecution(
        self, request: pb.ResumeExecutionRequest, context: Context
    ) -> execution_pb2.WorkflowExecution:
        """Asks it to go on."""
        return await self._ask(WishKind.RESUME, request, {})

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
        if request.step not in ran.steps:
            raise no_step("step", request.step, ran)
        wish: dict[str, Json] = {
            "step": request.step,
            "by": current_call().identity.subject,
            "reason": request.reason,
        }
        if request.HasField("output"):
            wish["output"] = from_struct(request.output)
        return await self._ask(WishKind.SKIP, request, wish)

    async def _ask(
        self, kind: WishKind, request: _VerbRequest, attributes: dict[str, Json]
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
            )
        if record is None:
            raise not_found(request.name)
        parts.replica.poke(execution_id)
        return to_execution(record)
