"""The waiting room: who waits is told once an agent is live, at one question per interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pytest

from brikk_shared.testing import ManualClock
from brikk_workflow.runtime.waiting import WaitingRoom
from support.running import running

INTERVAL = timedelta(seconds=1)


@dataclass
class Agents:
    """Who is live, and which questions were asked about it; `asking` is called by each."""

    live: set[tuple[str, str]] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    asking: Callable[[], None] = lambda: None

    async def available(self, organization: str, capability: str) -> bool:
        self.asked.append((organization, capability))
        self.asking()
        return (organization, capability) in self.live


class Room:
    """A waiting room under test, with the executions it has woken."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.agents = Agents()
        self.waiting = WaitingRoom(self.agents.available, interval=INTERVAL, clock=self.clock)
        self.woken: list[str] = []

    def enter(self, capability: str, execution_id: str, organization: str = "acme") -> None:
        self.waiting.enter(
            organization, capability, execution_id, partial(self.woken.append, execution_id)
        )

    async def interval(self) -> None:
        """Lets an interval pass while the loop runs, and it look again."""
        await self.clock.sleeping()
        self.clock.advance(INTERVAL)
        await self.clock.sleeping()


@pytest.fixture
def room() -> Room:
    return Room()


async def test_an_execution_is_woken_once_an_agent_is_live(room: Room) -> None:
    room.enter("t.a", "e1")
    async with running(room.waiting.run):
        await room.interval()
        assert room.woken == []
        room.agents.live.add(("acme", "t.a"))
        await room.interval()
        assert room.woken == ["e1"]
        await room.interval()
    assert room.woken == ["e1"]
    assert room.agents.asked == [("acme", "t.a")] * 2


async def test_each_capability_is_asked_for_once_however_many_wait(room: Room) -> None:
    for number in range(100):
        room.enter("t.a", f"a{number}")
        room.enter("t.b", f"b{number}")
    room.agents.live.add(("acme", "t.b"))
    async with running(room.waiting.run):
        await room.interval()
    assert room.agents.asked == [("acme", "t.a"), ("acme", "t.b")]
    assert room.woken == [f"b{number}" for number in range(100)]


async def test_the_agents_of_one_organisation_are_nothing_to_another(room: Room) -> None:
    room.enter("t.a", "ours")
    room.enter("t.a", "theirs", organization="other")
    room.agents.live.add(("other", "t.a"))
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["theirs"]


async def test_an_execution_that_enters_again_is_woken_once(room: Room) -> None:
    room.enter("t.a", "e1")
    room.enter("t.a", "e1")
    room.agents.live.add(("acme", "t.a"))
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["e1"]


async def test_who_enters_during_the_question_hears_the_answer(room: Room) -> None:
    room.agents.live.add(("acme", "t.a"))
    room.agents.asking = lambda: room.enter("t.a", "e2")
    room.enter("t.a", "e1")
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["e1", "e2"]


async def test_who_is_woken_may_enter_again(room: Room) -> None:
    room.agents.live.add(("acme", "t.a"))
    room.waiting.enter("acme", "t.a", "e1", lambda: room.enter("t.a", "e1"))
    async with running(room.waiting.run):
        await room.interval()
        assert room.woken == []
        await room.interval()
    assert room.woken == ["e1"]


async def test_who_left_is_not_woken_and_not_asked_about(room: Room) -> None:
    room.enter("t.a", "e1")
    room.enter("t.a", "e2")
    room.enter("t.b", "e1")
    room.waiting.leave("e1")
    room.waiting.leave("never entered")
    room.agents.live |= {("acme", "t.a"), ("acme", "t.b")}
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["e2"]
    assert room.agents.asked == [("acme", "t.a")]


async def test_the_last_may_leave_during_the_question(room: Room) -> None:
    room.agents.live |= {("acme", "t.a"), ("acme", "t.b")}
    room.agents.asking = lambda: room.waiting.leave("e1")
    room.enter("t.a", "e1")
    room.enter("t.b", "e2")
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["e2"]


async def test_a_loop_begun_again_goes_on(room: Room) -> None:
    def fail() -> None:
        raise LookupError

    room.agents.asking = fail
    room.agents.live.add(("acme", "t.a"))
    room.enter("t.a", "e1")
    with pytest.raises(LookupError):
        async with running(room.waiting.run) as loop:
            await room.clock.sleeping()
            room.clock.advance(INTERVAL)
            await loop
    room.agents.asking = lambda: None
    async with running(room.waiting.run):
        await room.interval()
    assert room.woken == ["e1"]
