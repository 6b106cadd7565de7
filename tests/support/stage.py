"""One real store for replicas of a test, and what is asked of executions in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from sqlalchemy import text

from brikk_shared import tables as shared
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.record import VersionRecord, WorkflowRecord
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.starts import Retried, Start
from brikk_workflow.store.executions import get_execution, get_outputs
from brikk_workflow.store.tables import METADATA, WORKFLOW, WORKFLOW_VERSION
from brikk_workflow.store.wishes import record_wish
from brikk_workflow.store.workflows import add_version
from support.replicas import StagedStore

ORGANIZATION = "acme"

# A wake-up; beside it an open wait where an agent has to come. Of those that are suspended somebody
# has to decide.
_FORGOTTEN = """
SELECT execution_id, status, wake_at, snapshot FROM execution
WHERE end_time IS NULL AND owner IS NULL AND status <> 'quarantined' AND (
    wake_at IS NULL
    OR wake_at > {now} AND status = 'running' AND snapshot LIKE '%"status":"waiting"%'
    AND NOT EXISTS (SELECT 1 FROM agent_wait WHERE agent_wait.execution_id = execution.execution_id)
)
"""


class Stage:
    """The store that all replicas use, and the workflows in it."""

    def __init__(self, store: StagedStore) -> None:
        self.store = store
        self.workflows: dict[str, CompiledWorkflow] = {}

    @staticmethod
    async def set_up(stack: AsyncExitStack, url: str, *workflows: str) -> Stage:
        """Opens a new store with these workflows."""
        stage = Stage(await stack.enter_async_context(StagedStore(url)))
        for yaml in workflows:
            await stage._create(yaml)
        return stage

    async def _create(self, yaml: str) -> None:
        workflow = read_yaml(yaml)
        assert isinstance(workflow, CompiledWorkflow)
        now, name = self.store.now, workflow.definition.id
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
                now=self.store.now,
            )

    async def lapse(self, lease: str) -> None:
        """Lets a lease end, as time does."""
        await self._run("UPDATE lease SET expires_at = 0 WHERE name = :name", {"name": lease})

    async def lapse_all_but(self, leases: Collection[str]) -> None:
        """Lets the leases of all others end."""
        names = ", ".join(f"'{name}'" for name in leases)
        await self._run(f"UPDATE lease SET expires_at = 0 WHERE name NOT IN ({names})", {})

    async def check_nothing_forgotten(self) -> None:
        """Asserts that whatever nobody holds has something that wakes it, at any moment."""
        query = text(_FORGOTTEN.format(now=self.store.now_sql))
        async with self.store.reading() as connection:
            assert not (await connection.execute(query)).all()

    async def held(self) -> Collection[tuple[str, str, int]]:
        """The open executions that somebody holds, with who holds them, and at which epoch."""
        query = text(
            "SELECT execution_id, owner, epoch FROM execution"
            " WHERE end_time IS NULL AND owner IS NOT NULL"
        )
        async with self.store.reading() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(query)]

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
