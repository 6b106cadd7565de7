"""How executions that nobody runs come into memory here, and what memory and store disagree on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_workflow.domain.decision import Admitted, CallsLost
from brikk_workflow.runtime.definitions import Definitions
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.inbox import Inbox
from brikk_workflow.runtime.residents import UNREADABLE_PAUSE, Residents
from brikk_workflow.runtime.run import Run
from brikk_workflow.runtime.stored import STORE_PAUSE
from brikk_workflow.store.loading import Loaded, Unreadable, load
from brikk_workflow.store.ownership import claim, owned, retake
from brikk_workflow.store.turns import Turns

log = structlog.get_logger()

CLAIM_BATCH = 100


class Claims:
    """Takes in executions that are due, in batches, and never more than there is room for."""

    def __init__(
        self,
        engine: Engine,
        definitions: Definitions,
        residents: Residents,
        inbox: Inbox,
        *,
        interval: timedelta,
        reconcile_interval: timedelta,
    ) -> None:
        self._engine = engine
        self._definitions = definitions
        self._residents = residents
        self._inbox = inbox
        self._interval = interval
        self._reconcile_interval = reconcile_interval
        self._turns = Turns()
        self._news = asyncio.Event()

    def hasten(self) -> None:
        """Looks at once: something may have become due."""
        self._news.set()

    async def run(self) -> None:
        """Claims for ever."""
        while True:
            # Half of the room at most: what is started meanwhile wants some, too.
            limit = min(CLAIM_BATCH, (self._residents.free + 1) // 2)
            if limit <= 0:
                await self._residents.until_vacated()
            elif await self._claim(limit) < limit:
                await self._rest()

    async def reconcile(self) -> None:
        """Compares what is owned with what is in memory, for ever.

        Both change all the time, so only what differs at two looks in a row is put right: taken
        in what nobody here knows of, dropped what is not ours any more.
        """
        unknown: Collection[str] = set()
        lost: Collection[Run] = set()
        while True:
            await self._engine.clock.sleep(self._reconcile_interval)
            try:
                unknown, lost = await self._compare(unknown, lost)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)

    async def _rest(self) -> None:
        """Waits for the interval, or until told to look."""
        waits = (
            asyncio.create_task(self._engine.clock.sleep(self._interval)),
            asyncio.create_task(_wait(self._news)),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self._news.clear()

    async def _claim(self, limit: int) -> int:
        engine = self._engine
        with self._residents.expecting(limit):
            try:
                async with engine.database.transaction() as connection:
                    claimed = await claim(
                        connection,
                        engine.database,
                        engine.replica,
                        self._turns,
                        limit=limit,
                        ahead=self._interval,
                    )
                    taken = [*claimed.orphaned, *claimed.due]
                    found = await load(connection, taken) if taken else ()
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                return 0
            await self.take_in(found)
        if taken:
            log.info("executions claimed", count=len(taken))
            engine.metrics.claims.labels("dead").inc(len(claimed.orphaned))
            engine.metrics.claims.labels("nobody").inc(len(claimed.due))
            self._inbox.hasten()
        return len(taken)

    async def _compare(
        self, unknown_before: Collection[str], lost_before: Collection[Run]
    ) -> tuple[Collection[str], Collection[Run]]:
        engine, residents = self._engine, self._residents
        runs = residents.runs()
        async with engine.database.reading() as connection:
            ours = set(await owned(connection, engine.replica))
        unknown = {each for each in ours if each not in residents}
        lost = {run for run in runs if run.execution_id not in ours}
        for run in lost & set(lost_before):
            log.warning("execution is not ours", execution=run.execution_id)
            residents.drop(run)
        strays = sorted(unknown & set(unknown_before))[: min(CLAIM_BATCH, residents.free)]
        if strays:
            log.warning("executions were nowhere in memory", count=len(strays))
            with residents.expecting(len(strays)):
                async with engine.database.transaction() as connection:
                    taken = await retake(connection, engine.replica, strays)
                    found = await load(connection, taken)
                await self.take_in(found)
        return unknown, lost

    async def take_in(self, found: Sequence[Loaded | Unreadable]) -> None:
        """Takes into memory what the store says is ours from now on."""
        loaded = [each for each in found if isinstance(each, Loaded)]
        workflows = await asyncio.gather(
            *(
                self._definitions.get(
                    each.record.organization, each.record.workflow_id, each.record.version
                )
                for each in loaded
            ),
            return_exceptions=True,
        )
        for each, workflow in zip(loaded, workflows, strict=True):
            if isinstance(workflow, BaseException):
                self._set_aside(each.record.execution_id, workflow)
                continue
            run = Run(self._engine, workflow, each.record, each.outputs)
            # First what was asked meanwhile: whoever wants it paused or ended wants no call more.
            run.post_wishes(each.wishes)
            # Whoever made its calls is gone, and with it their answers.
            run.post(CallsLost())
            if each.record.placed and not each.record.state.admitted:
                run.post(Admitted())
            self._residents.hold(run, (), {})
        for unread in found:
            if isinstance(unread, Unreadable):
                self._set_aside(unread.execution_id, unread.error)

    def _set_aside(self, execution_id: str, error: BaseException) -> None:
        if isinstance(error, Unavailable):
            self._residents.rest(execution_id, STORE_PAUSE)
            return
        log.error("execution cannot be read", execution=execution_id, exc_info=error)
        self._engine.metrics.unreadable.inc()
        self._residents.rest(execution_id, UNREADABLE_PAUSE)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
