"""One real store for many examples of a state machine, and what is asked of executions in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import text

from brikk_shared import tables as shared
from brikk_shared.database import Database
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.starts import Retried, Start
from brikk_workflow.store.executions import get_execution, get_outputs
from brikk_workflow.store.tables import METADATA, WORKFLOW, WORKFLOW_VERSION
from brikk_workflow.store.wishes import record_wish
from brikk_workflow.store.workflows import add_version
from support.postgres import fresh_database

ORGANIZATION = "acme"


class Stage:
    """The store that all examples use, one after another, and the workflows in it."""

    def __init__(self, url: str, store: Database) -> None:
        self.url = url
        self.store = store
        self.workflows: dict[str, CompiledWorkflow] = {}

    @staticmethod
    async def set_up(stack: AsyncExitStack, *workflows: str) -> Stage:
        """Opens a store of its own with these workflows."""
        url = await stack.enter_async_context(fresh_database())
        store = Database(url, migrations="brikk_workflow.store.migrations")
        stage = Stage(url, await stack.enter_async_context(store))
        for yaml in workflows:
            await stage._create(yaml)
        return stage

    async def _create(self, yaml: str) -> None:
        workflow = read_yaml(yaml)
        assert isinstance(workflow, CompiledWorkflow)
        now, name = datetime.now(UTC), workflow.definition.id
        version = VersionRecord(version=1, definition=workflow.definition, create_time=now)
        record = WorkflowRecord(workflow_id=name, latest=version, create_time=now)
        async with self.store.transaction() as connection:
            await add_version(connection, ORGANIZATION, record, request_id="")
        self.workflows[name] = replace(workflow, version=1)

    def order(
        self, workflow: str, *, request_id: str = "", retried: Retried | None = None
    ) -> Start:
        """What starts an execution."""
        return Start(
            organization=ORGANIZATION,
            workflow=self.workflows[workflow],
            newest=True,
            input={},
            labels={},
            priority=5,
            request_id=request_id,
            traceparent="",
            retried=retried,
        )

    async def ended_badly(self, execution_id: str) -> Retried | None:
        """What is needed to try an execution again; None when it goes on or succeeded."""
        async with self.store.reading() as connection:
            record = await get_execution(connection, ORGANIZATION, execution_id)
            outputs = await get_outputs(connection, [execution_id])
        if record is None or not record.state.status.terminal or record.state.failure is None:
            return None
        return Retried(
            record=record,
            definition=self.workflows[record.workflow_id].definition,
            outputs=outputs[execution_id],
        )

    async def wish(self, execution_id: str, kind: WishKind) -> None:
        """Records what somebody asks."""
        async with self.store.transaction() as connection:
            await record_wish(
                connection,
                self.store,
                ORGANIZATION,
                execution_id,
                kind=kind,
                attributes={},
                request_id="",
                now=datetime.now(UTC),
            )

    async def lapse(self, lease: str) -> None:
        """Lets a lease end, as time does."""
        await self._run("UPDATE lease SET expires_at = 0 WHERE name = :name", {"name": lease})

    async def pass_time_for_all_but(self, replicas: set[str]) -> None:
        """Lets time pass for what no living replica holds: leases end, and what waits is due."""
        names = ", ".join(f"'{name}'" for name in replicas)
        await self._run(f"UPDATE lease SET expires_at = 0 WHERE name NOT IN ({names})", {})
        await self._run("UPDATE execution SET wake_at = 0 WHERE owner IS NULL", {})

    async def turns(self, count: int) -> None:
        """Lets the replicas go on while the store answers so often."""
        for _ in range(count):
            async with self.store.reading() as connection:
                await connection.execute(text("SELECT 1"))

    async def clear(self) -> None:
        """Forgets everything but the workflows."""
        kept = {WORKFLOW.name, WORKFLOW_VERSION.name}
        for table in {*METADATA.tables, *shared.METADATA.tables} - kept:
            await self._run(f"DELETE FROM {table}", {})

    async def _run(self, statement: str, values: Mapping[str, object]) -> None:
        async with self.store.transaction() as connection:
            await connection.execute(text(statement), values)
