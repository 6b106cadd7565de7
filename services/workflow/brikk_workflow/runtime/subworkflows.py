"""Executions that steps of others run: begun once, followed to their end, cancelled with them.

Whoever holds the execution above follows; a crash loses nothing, for an order given again finds
the execution that the first one began, by a request id made of the execution above and the path.
What a crash kept from being cancelled with the one above is looked for now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from brikk_shared.clock import Clock
from brikk_shared.database import Database
from brikk_shared.errors import BrikkError, Unavailable
from brikk_workflow.domain.decision import StartChild
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.schema import check_input
from brikk_workflow.domain.wish import WishKind
from brikk_workflow.runtime.changes import Changes
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.starts import Start
from brikk_workflow.store.children import Child, find_orphans
from brikk_workflow.store.executions import get_execution, get_execution_by_request
from brikk_workflow.store.wishes import record_wish

log = structlog.get_logger()

POLL = timedelta(seconds=1)
"""How often an execution is looked at that another replica may hold, or a store that is silent."""

ORPHANS = 100
"""Most that are cancelled in one round because the one above has ended."""

Begin = Callable[[Start], Awaitable[ExecutionRecord | None]]
"""Begins an execution durably; None when its request id began one, or a version came."""


class Subworkflows:
    """Runs workflows for executions that are held here."""

    def __init__(
        self,
        database: Database,
        definitions: Definitions,
        changes: Changes,
        clock: Clock,
        *,
        reconcile_interval: timedelta,
    ) -> None:
        self._database = database
        self._definitions = definitions
        self._changes = changes
        self._clock = clock
        self._reconcile_interval = reconcile_interval
        self._begin: Begin | None = None
        self._poke: Callable[[str], None] | None = None
        self._cancelling: set[asyncio.Task[None]] = set()

    def connect(self, begin: Begin, poke: Callable[[str], None]) -> None:
        """Begins executions like this from now on, and has their wishes taken up like that."""
        self._begin, self._poke = begin, poke

    async def begin(self, above: ExecutionRecord, order: StartChild) -> ExecutionRecord:
        """Returns the execution of an order, which an earlier order may have begun.

        Raises:
            BrikkError: it cannot be begun, because of what the step says.
        """
        while True:
            try:
                record = await self._find(above, order) or await self._start(above, order)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                await self._clock.sleep(POLL)
            else:
                if record is not None:
                    return record
                self._definitions.outdated(above.organization, order.workflow)

    async def until_ended(self, begun: ExecutionRecord) -> ExecutionRecord:
        """Returns an execution once it has ended, wherever it runs."""
        with self._changes.subscribe(begun.execution_id, only_the_end=True) as subscription:
            while True:
                record = subscription.ended
                try:
                    if record is None:
                        async with self._database.reading() as connection:
                            record = await get_execution(
                                connection, begun.organization, begun.execution_id
                            )
                except Unavailable as error:
                    log.warning("store does not answer", reason=error.reason)
                if record is not None and record.state.status.terminal:
                    return record
                await subscription.changed(POLL)

    def cancel(self, above: ExecutionRecord, path: str) -> None:
        """Has the execution cancelled that a step ran, if it has begun one."""
        child = Child(
            organization=above.organization,
            above=above.execution_id,
            request_id=_request_id(above, path),
        )
        task = asyncio.create_task(self._cancel(child))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def reconcile(self) -> None:
        """Cancels what goes on though the one above has ended, for ever."""
        while True:
            await self._clock.sleep(self._reconcile_interval)
            try:
                async with self._database.reading() as connection:
                    orphans = await find_orphans(connection, limit=ORPHANS)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                continue
            for each in orphans:
                log.warning("execution outlived the one above", request=each.request_id)
                await self._cancel(each)

    async def _find(self, above: ExecutionRecord, order: StartChild) -> ExecutionRecord | None:
        async with self._database.reading() as connection:
            return await get_execution_by_request(
                connection, above.organization, _request_id(above, order.step_id)
            )

    async def _start(self, above: ExecutionRecord, order: StartChild) -> ExecutionRecord | None:
        assert self._begin is not None  # connected before anything runs
        if order.version is None:
            workflow = await self._definitions.newest(above.organization, order.workflow)
        else:
            workflow = await self._definitions.offered(
                above.organization, order.workflow, order.version
            )
        if workflow.input_schema is not None:
            check_input(workflow.input_schema, order.input, order.workflow)
        return await self._begin(
            Start(
                organization=above.organization,
                workflow=workflow,
                newest=order.version is None,
                input=order.input,
                labels=above.labels,
                priority=above.priority,
                request_id=_request_id(above, order.step_id),
                traceparent=above.traceparent,
                inherited=order.inherited,
            )
        )

    async def _cancel(self, child: Child) -> None:
        while True:
            try:
                async with self._database.transaction() as connection:
                    record = await get_execution_by_request(
                        connection, child.organization, child.request_id
                    )
                    if record is None:
                        return
                    await record_wish(
                        connection,
                        self._database,
                        child.organization,
                        record.execution_id,
                        kind=WishKind.CANCEL,
                        attributes={"reason": f"executions/{child.above} cancelled it"},
                        request_id=child.request_id,
                        now=self._clock.now(),
                    )
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                await self._clock.sleep(POLL)
            except BrikkError as error:
                log.warning(
                    "execution is not cancelled", request=child.request_id, reason=error.reason
                )
                return
            else:
                if self._poke is not None:
                    self._poke(record.execution_id)
                return


def _request_id(above: ExecutionRecord, path: str) -> str:
    return f"executions/{above.execution_id}/{path}"
