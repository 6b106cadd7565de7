"""Loops are restarted with backoff, loudly, and stopped in any order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from brikk_shared.lifecycle import Supervisor
from brikk_shared.testing import ManualClock


class _Loop:
    """Runs until told to die."""

    def __init__(self) -> None:
        self.runs = 0
        self.running = asyncio.Event()
        self.error: asyncio.Future[BaseException | None] = asyncio.Future()
        self.cancelled = False

    async def run(self) -> None:
        self.runs += 1
        self.error = asyncio.Future()
        self.running.set()
        try:
            error = await self.error
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.running.clear()
        if error is not None:
            raise error


@pytest.mark.parametrize(
    "end", [RuntimeError("broken"), None, asyncio.CancelledError()], ids=["error", "end", "cancel"]
)
async def test_a_loop_that_dies_is_restarted(end: BaseException | None) -> None:
    clock = ManualClock()
    seen: list[tuple[str, bool, bool]] = []

    async def watch(name: str, running: bool) -> None:
        seen.append((name, running, supervisor.ready))

    supervisor = Supervisor(clock, watcher=watch)
    loop = _Loop()
    supervisor.add("loop", loop.run)
    supervisor.start()
    await loop.running.wait()
    assert supervisor.ready
    loop.error.set_result(end)
    await clock.sleeping()
    assert not supervisor.ready
    clock.advance(timedelta(milliseconds=200))
    await loop.running.wait()
    assert supervisor.ready
    assert seen == [("loop", False, False), ("loop", True, True)]
    assert loop.runs == 2
    await supervisor.stop()
    assert loop.cancelled


async def test_the_pause_grows_and_a_steady_loop_begins_anew() -> None:
    clock = ManualClock()
    supervisor = Supervisor(clock)
    loop = _Loop()
    supervisor.add("loop", loop.run)
    supervisor.start()

    async def die_and_count_pause() -> timedelta:
        await loop.running.wait()
        loop.error.set_result(None)
        await clock.sleeping()
        pause = timedelta(0)
        while clock.sleepers:
            clock.advance(timedelta(milliseconds=100))
            pause += timedelta(milliseconds=100)
        return pause

    pauses = [await die_and_count_pause() for _ in range(10)]
    assert [pause.total_seconds() for pause in pauses[:4]] == [0.2, 0.4, 0.8, 1.6]
    assert pauses[-1] == timedelta(seconds=30)
    await loop.running.wait()
    clock.advance(timedelta(minutes=1))
    assert await die_and_count_pause() == timedelta(milliseconds=200)
    await supervisor.stop()


async def test_one_loop_dies_and_the_others_run_on() -> None:
    clock = ManualClock()
    supervisor = Supervisor(clock)
    first, second = _Loop(), _Loop()
    supervisor.add("first", first.run)
    supervisor.add("second", second.run)
    supervisor.start()
    await first.running.wait()
    await second.running.wait()
    first.error.set_result(None)
    await clock.sleeping()
    assert second.runs == 1
    assert not second.cancelled
    await supervisor.stop()
    assert second.cancelled


async def test_stopping_before_the_start_and_twice_is_fine() -> None:
    supervisor = Supervisor(ManualClock())
    loop = _Loop()
    supervisor.add("loop", loop.run)
    await supervisor.stop()
    supervisor.start()
    await loop.running.wait()
    await supervisor.stop()
    await supervisor.stop()
    assert loop.runs == 1


async def test_a_loop_that_waits_for_its_restart_can_be_stopped() -> None:
    clock = ManualClock()
    supervisor = Supervisor(clock)
    loop = _Loop()
    supervisor.add("loop", loop.run)
    supervisor.start()
    await loop.running.wait()
    loop.error.set_result(None)
    await clock.sleeping()
    await supervisor.stop()
    assert loop.runs == 1


async def test_two_loops_of_one_name_are_a_mistake() -> None:
    supervisor = Supervisor(ManualClock())
    supervisor.add("loop", _Loop().run)
    with pytest.raises(ValueError, match="loop"):
        supervisor.add("loop", _Loop().run)
