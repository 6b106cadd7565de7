"""Work beside the calls, known by name: done in this process, or by Celery workers.

A broker is not a database: it may lose what it is told, or tell it late, or twice. So a task takes
no arguments. What there is to do stands in the store of the service; a task looks there and does
it, in batches that are safe to repeat, and it looks from time to time though nobody asked. To ask
for it only brings that forward; and no broker ever sees an id, a payload or a secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from brikk_shared.clock import Clock
from brikk_shared.errors import Unavailable
from brikk_shared.lifecycle import Run

Work = Callable[[], Awaitable[bool]]
"""What a task does: it tells whether there is more to do at once. It should end within seconds, as
a worker has others to do. It may raise Unavailable, and then the next time does the rest."""

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A kind of work of a service."""

    name: str
    every: timedelta
    """How often it is done though nobody asked."""


class Tasks(Protocol):
    """Has tasks done: `LocalTasks` here, `celery_tasks.CeleryTasks` by workers."""

    @property
    def loops(self) -> Mapping[str, Run]:
        """The loops that must run for it, by name."""

    def enqueue(self, task: Task) -> None:
        """Have a task done soon. Asked for while it waits it is done once, while it runs again.

        It neither waits nor fails: what is asked for while the broker is away is told later.
        """


class LocalTasks:
    """Does tasks in this process: each one at the start, whenever it is asked for, and at times.

    Tasks run side by side, but none beside itself; replicas may do the same ones at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work: dict[Task, Work] = {}
        self._asked: dict[Task, asyncio.Event] = {}

    def take_on(self, work: Mapping[Task, Work]) -> None:
        """Be ready to do tasks."""
        self._work |= work
        self._asked |= {task: asyncio.Event() for task in work}

    @property
    def loops(self) -> Mapping[str, Run]:
        """One for each task, so that one that dies stops no other."""
        return {f"task-{task.name}": self._loop(task) for task in self._work}

    def enqueue(self, task: Task) -> None:
        """Have a task done soon. KeyError when there is no such one."""
        self._asked[task].set()

    def _loop(self, task: Task) -> Run:
        async def run() -> None:
            while True:
                self._asked[task].clear()
                if not await perform(task, self._work[task]):
                    await self._wait(task)

        return run

    async def _wait(self, task: Task) -> None:
        waits = [
            asyncio.ensure_future(self._asked[task].wait()),
            asyncio.ensure_future(self._clock.sleep(task.every)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


async def perform(task: Task, work: Work) -> bool:
    """Do a task once, and tell whether there is more to do at once.

    A store that does not answer is logged: the next time does the rest.
    """
    try:
        return await work()
    except Unavailable as error:
        _log.warning("task_not_done", task=task.name, reason=error.message)
        return False
