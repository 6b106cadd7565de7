"""Wake-ups: each once, at its time, whatever is set and dropped meanwhile."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brikk_shared.testing import ManualClock
from brikk_workflow.runtime.timers import Timers
from support.running import running

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Wakes:
    """Timers under test, and what they have fired.

    One wake-up is never reached, so that the loop always sleeps on the clock when it is at rest.
    """

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.timers = Timers(self.clock)
        self._fired: asyncio.Queue[str] = asyncio.Queue()
        self.set("never", 1_000_000)

    def set(self, execution_id: str, seconds: int, label: str = "") -> None:
        """Sets a wake-up so many seconds from now."""
        self.timers.set(
            execution_id, self.clock.now() + seconds * SECOND, self.firing(label or execution_id)
        )

    def firing(self, label: str) -> Callable[[], None]:
        return partial(self._fired.put_nowait, label)

    async def advance(self, seconds: int) -> None:
        """Moves the clock once the loop sleeps on it."""
        await self.clock.sleeping()
        self.clock.advance(seconds * SECOND)

    async def fired(self, count: int = 1) -> list[str]:
        """The next that fire, in their order."""
        return [await self._fired.get() for _ in range(count)]

    async def at_rest(self) -> None:
        """Returns when everything due has fired, if nobody has asked for it with `fired`."""
        self.set("~last of those due now", 0)
        assert await self.fired() == ["~last of those due now"]


@pytest.fixture
def wakes() -> Wakes:
    return Wakes()


async def test_a_wake_up_comes_once_at_its_time(wakes: Wakes) -> None:
    wakes.set("a", 10)
    async with running(wakes.timers.run):
        await wakes.advance(9)
        await wakes.at_rest()
        await wakes.advance(1)
        assert await wakes.fired() == ["a"]
        await wakes.advance(100)
        await wakes.at_rest()


async def test_what_was_set_before_the_loop_runs_is_not_lost(wakes: Wakes) -> None:
    wakes.set("past", -1)
    wakes.set("now", 0)
    async with running(wakes.timers.run):
        assert await wakes.fired(2) == ["past", "now"]


async def test_a_loop_begun_again_goes_on(wakes: Wakes) -> None:
    wakes.set("a", 1)
    async with running(wakes.timers.run):
        await wakes.clock.sleeping()
    assert wakes.clock.sleepers == 0
    wakes.clock.advance(SECOND)
    async with running(wakes.timers.run):
        assert await wakes.fired() == ["a"]


async def test_setting_replaces(wakes: Wakes) -> None:
    wakes.set("earlier", 5, "first")
    wakes.set("later", 1, "first")
    wakes.set("same", 3, "first")
    wakes.set("earlier", 2, "second")
    wakes.set("later", 4, "second")
    wakes.set("same", 3, "second")
    async with running(wakes.timers.run):
        for label in ("earlier", "same", "later"):
            await wakes.advance(2 if label == "earlier" else 1)
            assert await wakes.fired() == ["second"], label
        await wakes.advance(100)
        await wakes.at_rest()


async def test_a_dropped_wake_up_does_not_come(wakes: Wakes) -> None:
    wakes.set("a", 1)
    wakes.set("b", 1)
    wakes.timers.drop("a")
    wakes.timers.drop("never set")
    async with running(wakes.timers.run):
        await wakes.advance(1)
        assert await wakes.fired() == ["b"]
        await wakes.at_rest()


async def test_a_wake_up_set_again_after_it_was_dropped_comes_once(wakes: Wakes) -> None:
    wakes.set("a", 1, "first")
    wakes.timers.drop("a")
    wakes.set("a", 1, "second")
    async with running(wakes.timers.run):
        await wakes.advance(1)
        assert await wakes.fired() == ["second"]
        await wakes.at_rest()


async def test_many_due_at_once_come_in_the_order_of_their_times(wakes: Wakes) -> None:
    for number in reversed(range(1000)):
        wakes.set(str(number), number)
    async with running(wakes.timers.run):
        assert await wakes.fired() == ["0"]
        await wakes.advance(1000)
        assert await wakes.fired(999) == [str(number) for number in range(1, 1000)]


async def test_an_earlier_wake_up_is_heard_while_it_sleeps(wakes: Wakes) -> None:
    wakes.set("late", 100)
    async with running(wakes.timers.run):
        await wakes.clock.sleeping()
        wakes.set("soon", 1)
        await wakes.at_rest()
        await wakes.advance(1)
        assert await wakes.fired() == ["soon"]
        await wakes.advance(99)
        assert await wakes.fired() == ["late"]


async def test_a_wake_up_may_set_the_next(wakes: Wakes) -> None:
    def again() -> None:
        wakes.set("a", 1, "second")
        wakes.firing("first")()

    wakes.timers.set("a", NOW + SECOND, again)
    async with running(wakes.timers.run):
        for label in ("first", "second"):
            await wakes.advance(1)
            assert await wakes.fired() == [label]


async def test_a_clock_set_back_makes_it_wait_longer_and_lose_nothing(wakes: Wakes) -> None:
    wakes.set("a", 10)
    async with running(wakes.timers.run):
        await wakes.clock.sleeping()
        wakes.clock.jump(-5 * SECOND)
        await wakes.advance(10)
        await wakes.at_rest()
        await wakes.advance(5)
        assert await wakes.fired() == ["a"]


class Name(str):
    """An execution's id of which a test can tell whether it is still remembered."""


def test_executions_that_ended_long_before_their_time_are_forgotten() -> None:
    timers = Timers(ManualClock(NOW))
    names: weakref.WeakSet[Name] = weakref.WeakSet()
    for number in range(10_000):
        name = Name(number)
        names.add(name)
        for hours in (24, 1, 24):  # a deadline, a retry before it, and the deadline once more
            timers.set(name, NOW + timedelta(hours=hours), lambda: None)
        timers.drop(name)
    del name
    assert len(names) < 100


PLANS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("abcd"), st.integers(-2, 6)),
        st.tuples(st.just("drop"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("advance"), st.just(""), st.integers(1, 4)),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(plan=PLANS)
async def test_whatever_is_set_and_dropped_each_comes_once_at_its_time(
    plan: list[tuple[str, str, int]],
) -> None:
    wakes = Wakes()
    expected: dict[str, tuple[datetime, str]] = {}
    async with running(wakes.timers.run):
        for number, (verb, execution_id, seconds) in enumerate(plan):
            if verb == "set":
                label = f"{execution_id}{number}"
                wakes.set(execution_id, seconds, label)
                expected[execution_id] = (wakes.clock.now() + seconds * SECOND, label)
            elif verb == "drop":
                wakes.timers.drop(execution_id)
                expected.pop(execution_id, None)
            else:
                await wakes.advance(seconds)
            due = [each for each in expected.values() if each[0] <= wakes.clock.now()]
            expected = {key: each for key, each in expected.items() if each not in due}
            assert await wakes.fired(len(due)) == [label for _, label in sorted(due)]
            await wakes.at_rest()
