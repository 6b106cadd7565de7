"""Workflow versions made ready to run: compiled once, kept because they never change."""

from __future__ import annotations

from collections import OrderedDict

from brikk_shared.database import Database
from brikk_shared.errors import not_found
from brikk_workflow.domain.compile import compile_workflow
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.store.workflows import get_version, newest_version

KEPT = 1000


class Definitions:
    """The versions used last, at most `KEPT`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._newest: dict[tuple[str, str], int] = {}
        self._compiled: OrderedDict[tuple[str, str, int], CompiledWorkflow] = OrderedDict()

    async def newest(self, organization: str, workflow_id: str) -> CompiledWorkflow:
        """Returns the newest version as far as is known; whoever uses it checks when it writes.

        Raises:
            NotFound: the organisation has no such workflow.
        """
        key = (organization, workflow_id)
        if key not in self._newest:
            async with self._database.reading() as connection:
                version = await newest_version(connection, organization, workflow_id)
            if version is None:
                raise not_found(f"workflows/{workflow_id}")
            self._newest[key] = version
            if len(self._newest) > KEPT:
                del self._newest[next(iter(self._newest))]
        return await self.get(organization, workflow_id, self._newest[key])

    def outdated(self, organization: str, workflow_id: str) -> None:
        """Forgets which version is the newest."""
        self._newest.pop((organization, workflow_id), None)

    async def offered(self, organization: str, workflow_id: str, version: int) -> CompiledWorkflow:
        """Returns a version that may be started.

        Raises:
            NotFound: there is no such version, or its workflow was deleted.
        """
        async with self._database.reading() as connection:
            if await newest_version(connection, organization, workflow_id) is None:
                raise not_found(f"workflows/{workflow_id}")
        return await self.get(organization, workflow_id, version)

    async def get(self, organization: str, workflow_id: str, version: int) -> CompiledWorkflow:
        """Returns a version.

        Raises:
            NotFound: the organisation has no such version.
        """
        key = (organization, workflow_id, version)
        workflow = self._compiled.get(key)
        if workflow is None:
            async with self._database.reading() as connection:
                record = await get_version(connection, organization, workflow_id, version)
            if record is None:
                raise not_found(f"workflows/{workflow_id}/versions/{version}")
            workflow = self._compiled[key] = compile_workflow(record.definition, version=version)
            if len(self._compiled) > KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return workflow
