"""The executions that this replica holds in memory, and how many more it has room for."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from functools import partial

import structlog

from brikk_shared.errors import Unavailable
from brikk_shared.selection import Option
from brikk_workflow.domain.decision import Command
from brikk_workflow.runtime.engine import Engine
from brikk_workflow.runtime.run import Run
from brikk_workflow.runtime.stored import STORE_PAUSE
from brikk_workflow.store.ownership import release

log = structlog.get_logger()

FAILED_PAUSE = timedelta(seconds=5)
"""How long an execution rests whose run failed by a defect, before anyone claims it again; when it
fails anew, twice as long each time."""
LONGEST_PAUSE = timedelta(minutes=10)
UNREADABLE_PAUSE = timedelta(minutes=10)
"""How long an execution rests that this program cannot read; a newer one may."""


class Residents:
    """Executions in memory, at most `max_owned`; none come in before `open` and once it drains."""

    def __init__(self, engine: Engine, *, max_owned: int) -> None:
        self._engine = engine
        self._max_owned = max_owned
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._expected = 0
        self._vacated = asyncio.Event()
        self._open = False
        self._draining = False
        self._failures: Counter[str] = Counter()
        self._resting: dict[str, timedelta] = {}
        self._left: list[Callable[[Run], None]] = []
        self._rest_news = asyncio.Event()

    def subscribe(self, left: Callable[[Run], None]) -> None:
        """Calls this from now on with each execution that has left memory."""
        self._left.append(left)

    def open(self) -> None:
        """Takes executions in from now on, unless this process is to end."""
        self._open = not self._draining

    def drop_all(self) -> None:
        """Stops everything at once: what is in memory belongs to others from now on."""
        self._open = False
        for _, task in self._runs.values():
            task.cancel()

    @property
    def free(self) -> int:
        """How many more may come in now."""
        return self._max_owned - len(self._runs) - self._expected if self._open else 0

    @contextmanager
    def expecting(self, count: int) -> Iterator[None]:
        """Keeps room while the block runs for executions that are about to come in."""
        self._expected += count
        try:
            yield
        finally:
            self._expected -= count
            self._vacated.set()

    async def until_vacated(self) -> None:
        """Waits until there may be room again."""
        self._vacated.clear()
        await self._vacated.wait()

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._runs

    def get(self, execution_id: str) -> Run | None:
        """Returns an execution that is in memory."""
        run, _ = self._runs.get(execution_id, (None, None))
        return run

    def runs(self) -> Collection[Run]:
        """Returns all that are in memory."""
        return [run for run, _ in self._runs.values()]

    def hold(self, run: Run, commands: Sequence[Command], candidates: Mapping[str, Option]) -> None:
        """Takes an execution in that the store says is ours, and carries out what it ordered."""
        if not self._open:
            self.rest(run.execution_id, timedelta(0))
            return
        _, before = self._runs.get(run.execution_id, (None, None))
        following = run.follow(commands, candidates)
        # A context of its own: the call that started it is over long before the execution is.
        task = asyncio.create_task(
            following if before is None else _after(before, following), context=Context()
        )
        self._runs[run.execution_id] = (run, task)
        self._engine.metrics.held.set(len(self._runs))
        task.add_done_callback(partial(self._ended, run))

    def drop(self, run: Run) -> None:
        """Stops an execution that is not ours any more."""
        held, task = self._runs.get(run.execution_id, (None, None))
        if held is run and task is not None:
            task.cancel()

    async def drain(self) -> None:
        """Takes nothing more in; each execution leaves as soon as it has no call in flight."""
        self._draining, self._open = True, False
        tasks = [task for _, task in self._runs.values()]
        for run, _ in self._runs.values():
            run.drain()
        await asyncio.gather(*tasks, return_exceptions=True)

    def rest(self, execution_id: str, pause: timedelta) -> None:
        """Lets go of an execution that is not in memory; nobody claims it before the pause ends."""
        self._resting[execution_id] = pause
        self._rest_news.set()

    async def run_rests(self) -> None:
        """Lets go for ever of those that are to rest."""
        engine = self._engine
        while True:
            await self._rest_news.wait()
            self._rest_news.clear()
            by_pause: defaultdict[timedelta, list[str]] = defaultdict(list)
            for execution_id, pause in self._resting.items():
                by_pause[pause].append(execution_id)
            resting, self._resting = self._resting, {}
            try:
                async with engine.database.transaction() as connection:
                    for pause, ids in by_pause.items():
                        await release(connection, engine.database, engine.replica, ids, after=pause)
            except Unavailable as error:
                log.warning("store does not answer", reason=error.reason)
                self._resting = resting | self._resting
                self._rest_news.set()
                await engine.clock.sleep(STORE_PAUSE)

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        # Unless it was lost and claimed again before it had quite ended.
        if self.get(run.execution_id) is run:
            del self._runs[run.execution_id]
        self._vacated.set()
        for each in self._left:
            each(run)
        self._engine.metrics.held.set(len(self._runs))
        if task.cancelled() or (error := task.exception()) is None:
            self._failures.pop(run.execution_id, None)
            return
        # A defect met by one execution never stops another: it rests, then is tried again.
        log.error("execution rests", execution=run.execution_id, exc_info=error)
        doublings = min(self._failures[run.execution_id], 20)
        self._failures[run.execution_id] += 1
        self.rest(run.execution_id, min(FAILED_PAUSE * 2**doublings, LONGEST_PAUSE))


async def _after(before: asyncio.Task[None], following: Coroutine[None, None, None]) -> None:
    """Follows an execution anew once whoever followed it here before has let go of its timers."""
    before.cancel()
    await asyncio.wait({before})
    await following
