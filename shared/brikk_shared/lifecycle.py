"""Loops that live as long as the process: started together, restarted when they die, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from brikk_shared.clock import Clock

Run = Callable[[], Awaitable[None]]
Watcher = Callable[[str, bool], Awaitable[None]]
"""Told the name of a loop and whether it runs, whenever that changes."""

_FIRST_PAUSE = timedelta(milliseconds=200)
_LONGEST_PAUSE = timedelta(seconds=30)
_STEADY = timedelta(minutes=1)
"""A loop that ran this long before it died is restarted with the first pause again."""
_PATIENCE = timedelta(seconds=10)
"""How long a cancelled loop may take to end."""

_log = structlog.stdlib.get_logger(__name__)


class Supervisor:
    """Named loops. One that dies is logged and restarted with backoff; `ready` is false meanwhile.

    A loop runs until it is cancelled: returning is dying too. Stopping before the start, or twice,
    is fine.
    """

    def __init__(self, clock: Clock, *, watcher: Watcher | None = None) -> None:
        self._clock = clock
        self._watcher = watcher
        self._loops: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._down: set[str] = set()

    @property
    def ready(self) -> bool:
        """Whether every loop runs."""
        return not self._down

    def add(self, name: str, run: Run) -> None:
        """Take a loop on. ValueError when there is one of this name."""
        if name in self._loops:
            raise ValueError(f"there is a loop called {name} already")
        self._loops[name] = run

    def start(self) -> None:
        """Start the loops that were taken on."""
        for name, run in self._loops.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._keep(name, run), name=name)

    async def stop(self) -> None:
        """Cancel the loops and wait for their end."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            _, hung = await asyncio.wait(self._tasks.values(), timeout=_PATIENCE.total_seconds())
            for task in hung:
                _log.error("loop_hangs", loop=task.get_name())

    async def _keep(self, name: str, run: Run) -> None:
        deaths = 0
        while True:
            began = self._clock.monotonic()
            await self._run_once(name, run)
            lived = timedelta(seconds=self._clock.monotonic() - began)
            deaths = 1 if lived >= _STEADY else deaths + 1
            self._down.add(name)
            await self._tell(name, running=False)
            await self._clock.sleep(min(_FIRST_PAUSE * 2 ** min(deaths - 1, 16), _LONGEST_PAUSE))
            self._down.discard(name)
            await self._tell(name, running=True)

    async def _run_once(self, name: str, run: Run) -> None:
        task = asyncio.current_task()
        try:
            await run()
        except asyncio.CancelledError:
            # Nobody cancelled this task: it leaked out of something that the loop awaited.
            if task is None or task.cancelling():
                raise
            _log.exception("loop_died", loop=name)
        except Exception:  # noqa: BLE001 - the one place that outlives whatever a loop does
            _log.exception("loop_died", loop=name)
        else:
            _log.error("loop_ended", loop=name)

    async def _tell(self, name: str, *, running: bool) -> None:
        if self._watcher is not None:
            await self._watcher(name, running)
