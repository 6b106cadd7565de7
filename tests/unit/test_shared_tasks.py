"""Tasks in this process are done at the start, at times, and once more for whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from brikk_shared.errors import Reason, Unavailable
from brikk_shared.lifecycle import Supervisor
from brikk_shared.tasks import LocalTasks, Task, Work
from brikk_shared.testing import ManualClock

SWEEP = Task(name="sweep", every=timedelta(minutes=1))
OTHER = Task(name="other", every=timedelta(days=1))


class Sweeping:
    """Work that a test lets end, well or not."""

    def __init__(self) -> None:
        self.begun = 0
        self._beginning = asyncio.Condition()
        self.end: asyncio.Future[bool] = asyncio.Future()

    async def run(self) -> bool:
        async with self._beginning:
            self.begun += 1
            self._beginning.notify_all()
        self.end = asyncio.Future()
        return await self.end

    async def begins(self, time: int) -> None:
        """Waits until it has begun so many times."""
        async with self._beginning:
            await self._beginning.wait_for(lambda: self.begun >= time)


@asynccontextmanager
async def doing(clock: ManualClock, **work: Work) -> AsyncIterator[LocalTasks]:
    known = {each.name: each for each in (SWEEP, OTHER)}
    tasks = LocalTasks(clock)
    tasks.take_on({known[name]: each for name, each in work.items()})
    supervisor = Supervisor(clock)
    for name, run in tasks.loops.items():
        supervisor.add(name, run)
    supervisor.start()
    try:
        yield tasks
    finally:
        await supervisor.stop()


async def test_done_at_the_start_at_times_and_when_asked_for() -> None:
    clock, sweeping = ManualClock(), Sweeping()
    async with doing(clock, sweep=sweeping.run) as tasks:
        await sweeping.begins(1)
        sweeping.end.set_result(False)
        await clock.sleeping()
        clock.advance(SWEEP.every)
        await sweeping.begins(2)
        sweeping.end.set_result(False)
        await clock.sleeping()
        tasks.enqueue(SWEEP)
        await sweeping.begins(3)


async def test_asked_for_often_while_it_runs_it_is_done_once_more() -> None:
    clock, sweeping = ManualClock(), Sweeping()
    async with doing(clock, sweep=sweeping.run) as tasks:
        await sweeping.begins(1)
        for _ in range(3):
            tasks.enqueue(SWEEP)
        sweeping.end.set_result(False)
        await sweeping.begins(2)
        sweeping.end.set_result(False)
        await clock.sleeping()
        assert sweeping.begun == 2


async def test_one_that_has_more_to_do_goes_on_at_once() -> None:
    clock, sweeping = ManualClock(), Sweeping()
    async with doing(clock, sweep=sweeping.run):
        await sweeping.begins(1)
        sweeping.end.set_result(True)
        await sweeping.begins(2)


async def test_one_that_hangs_keeps_no_other_from_its_turn() -> None:
    clock, hanging, sweeping = ManualClock(), Sweeping(), Sweeping()
    async with doing(clock, other=hanging.run, sweep=sweeping.run) as tasks:
        await hanging.begins(1)
        await sweeping.begins(1)
        sweeping.end.set_result(False)
        tasks.enqueue(SWEEP)
        await sweeping.begins(2)


@pytest.mark.parametrize(
    "error",
    [Unavailable(Reason.DEPENDENCY_UNAVAILABLE, "the store is away"), RuntimeError("a bug")],
    ids=["unavailable", "bug"],
)
async def test_one_that_failed_is_done_again(error: Exception) -> None:
    clock, sweeping = ManualClock(), Sweeping()
    async with doing(clock, sweep=sweeping.run):
        await sweeping.begins(1)
        sweeping.end.set_exception(error)
        await clock.sleeping()
        clock.advance(SWEEP.every)
        await sweeping.begins(2)


async def test_what_was_never_made_known_is_refused() -> None:
    with pytest.raises(KeyError):
        LocalTasks(ManualClock()).enqueue(SWEEP)
