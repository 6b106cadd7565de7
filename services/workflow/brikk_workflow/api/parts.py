"""What the methods of ExecutionService work with, and the servicer that their files extend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import grpc

from brikk.workflow.v1.execution_service_pb2_grpc import ExecutionServiceServicer
from brikk_shared.call import organization
from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import not_found
from brikk_workflow.api.finished import Finished
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.runtime.batches import Batches
from brikk_workflow.runtime.beginning import Beginner
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.replica import Replica
from brikk_workflow.store import executions

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

POLL = timedelta(seconds=1)
"""How often a follower reads an execution that another replica may run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """The running parts of the service that answer its methods.

    `heartbeat` is the longest silence of a watch.
    """

    database: Database
    clock: Clock
    definitions: Definitions
    replica: Replica
    changes: Changes
    finished: Finished
    beginner: Beginner
    batches: Batches
    heartbeat: timedelta


class Methods(ExecutionServiceServicer):
    """Some methods of the service; each file of this room adds those of one subject."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def _read(self, name: str) -> ExecutionRecord:
        """Returns an execution of the caller's organisation.

        Raises:
            NotFound: there is none of this name.
        """
        async with self._parts.database.reading() as connection:
            record = await executions.get_execution(connection, organization(), id_of(name))
        if record is None:
            raise not_found(name)
        return record

    async def _until_ended(self, execution_id: str, timeout: timedelta) -> ExecutionRecord:
        """Returns an execution once it has ended, or as it stands after the timeout."""
        clock = self._parts.clock
        until = clock.now() + timeout
        with self._parts.changes.subscribe(execution_id, only_the_end=True) as subscription:
            while True:
                record = subscription.ended or await self._glance(execution_id)
                left = until - clock.now()
                if record.state.status.terminal or left <= timedelta(0):
                    return record
                await subscription.changed(min(left, POLL))

    async def _glance(self, execution_id: str) -> ExecutionRecord:
        """Returns an execution from memory when it is held here, else from the store."""
        held = self._parts.replica.held(organization(), execution_id)
        return held or await self._read(f"executions/{execution_id}")


def id_of(name: str) -> str:
    """Returns the last segment of an execution's name."""
    return name.removeprefix("executions/")
