"""How executions begin whatever comes between: a newer version, or the same request before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from brikk_shared.database import Database
from brikk_shared.errors import InvalidArgument, Reason, invalid_field
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.schema import check_input
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.runtime.starts import Retried, Start
from brikk_workflow.store import executions
from brikk_workflow.store.loading import Loaded


class Beginner:
    """Begins executions, one for a request id, and retries those that ended."""

    def __init__(self, database: Database, definitions: Definitions, replica: Replica) -> None:
        self._database = database
        self._definitions = definitions
        self._replica = replica

    async def begin(self, make_order: Callable[[], Awaitable[Start]]) -> ExecutionRecord:
        """Begins what is ordered, or finds what its request id began before.

        The order is made anew when a newer version was committed meanwhile.

        Raises:
            InvalidArgument: the input does not match the workflow's schema, or the request id was
                used for another start.
        """
        while True:
            order = await make_order()
            if order.workflow.input_schema is not None:
                schema, workflow_id = order.workflow.input_schema, order.workflow.definition.id
                check_input(schema, order.input, workflow_id)
            record = await self._replica.start(order) or await self._begun_before(order)
            if record is not None:
                return record
            self._definitions.outdated(order.organization, order.workflow.definition.id)

    async def version(self, organization: str, name: str) -> tuple[CompiledWorkflow, bool]:
        """Returns the version that is named, and whether that is to be the newest.

        Raises:
            NotFound: there is none of this name.
        """
        workflow, _, version = name.partition("/versions/")
        workflow_id = _workflow_id(workflow)
        if version:
            return await self._definitions.offered(organization, workflow_id, int(version)), False
        return await self._definitions.newest(organization, workflow_id), True

    async def retry(
        self,
        ended: Loaded,
        *,
        from_step: str = "",
        workflow: str,
        request_id: str,
        traceparent: str,
    ) -> ExecutionRecord:
        """Begins one in place of one that ended: with its version when no `workflow` is named.

        `from_step` is done again, and so is what follows it; empty for what was not done only.

        Raises:
            InvalidArgument: the named version is of another workflow, or lacks the step that is to
                be done again; or as `begin` does.
            NotFound: there is no such version.
        """
        old = ended.record
        before = await self._definitions.get(old.organization, old.workflow_id, old.version)
        retried = Retried(
            record=old, definition=before.definition, outputs=ended.outputs, from_step=from_step
        )

        async def order() -> Start:
            ran = f"workflows/{old.workflow_id}"
            if workflow and _workflow_id(workflow.partition("/versions/")[0]) != old.workflow_id:
                raise invalid_field("workflow", f"must be {ran}, which the execution ran")
            version, newest = before, False
            if workflow:
                version, newest = await self.version(old.organization, workflow)
            if from_step and from_step not in version.body.steps:
                raise no_step("from_step", from_step, version)
            return Start(
                organization=old.organization,
                workflow=version,
                newest=newest,
                input=old.input,
                labels=old.labels,
                priority=old.priority,
                request_id=request_id,
                traceparent=traceparent,
                retried=retried,
            )

        return await self.begin(order)

    async def _begun_before(self, order: Start) -> ExecutionRecord | None:
        """Returns what the request id began before, None when it began nothing."""
        if not order.request_id:
            return None
        async with self._database.reading() as connection:
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


def _workflow_id(name: str) -> str:
    return name.removeprefix("workflows/")


def _asked(of: Start | ExecutionRecord, workflow_id: str) -> tuple[object, ...]:
    """Returns what a start is recognised by."""
    return (workflow_id, of.input, of.labels, of.priority, of.retry_of)
