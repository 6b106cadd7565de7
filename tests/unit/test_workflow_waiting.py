"""The waiting room: who waits is told the moment an agent is live, or at the next look."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from brikk.discovery.v1.discovery_service_pb2 import ResolveCapabilityResponse
from brikk_workflow.runtime.waiting import BATCH, WaitingRoom
from support.directories import Setting
from support.running import running
from support.scripted_discovery import candidate

INTERVAL = timedelta(seconds=5)


class Room(Setting):
    """A waiting room under test, with the executions it has woken."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = WaitingRoom(self.directory, interval=INTERVAL, clock=self.clock)
        self.watch.subscribe(self.waiting.offered)
        self.woken: list[str] = []

    def enter(self, capability: str, execution_id: str, organization: str = "acme") -> None:
        self.waiting.enter(
            organization, capability, execution_id, partial(self.woken.append, execution_id)
        )

    async def look(self) -> None:
        """Lets an interval pass while the loop runs, and it look again."""
        await self.clock.sleeping()
        self.clock.advance(INTERVAL)
        await self.clock.sleeping()


@pytest.fixture
def room() -> Room:
    return Room()


async def test_a_change_wakes_who_waits_at_once(room: Room) -> None:
    assert await room.choose("t") is None
    room.enter("t", "e1")
    room.enter("t", "e2")
    room.enter("u", "e3")
    async with room.watching():
        await room.until_live()
        assert room.woken == []
        await room.discovery.offer(candidate("a"))
        await room.until_told()
    assert room.woken == ["e1", "e2"]


async def test_who_enters_after_an_agent_came_up_is_woken_at_once(room: Room) -> None:
    assert await room.choose("t") is None
    async with room.watching():
        await room.until_live()
        await room.discovery.offer(candidate("a"))
        await room.until_told()
    room.enter("t", "e1")
    assert room.woken == ["e1"]
    room.waiting.leave("e1")


async def test_without_a_watch_it_looks_itself(room: Room) -> None:
    room.enter("t", "e1")
    async with running(room.waiting.run):
        await room.look()
        assert room.woken == []
        await room.offer({"t": ["a"]})
        await room.look()
        assert room.woken == ["e1"]
        await room.look()
    assert room.woken == ["e1"]
    assert room.discovery.asked == [("acme", "t")] * 2


async def test_each_capability_is_looked_for_once_however_many_wait(room: Room) -> None:
    for number in range(100):
        room.enter("t", f"t{number}")
        room.enter("u", f"u{number}")
    await room.offer({"u": ["a"]})
    async with running(room.waiting.run):
        await room.look()
    assert sorted(room.discovery.asked) == [("acme", "t"), ("acme", "u")]
    assert room.woken == [f"u{number}" for number in range(100)]


async def test_more_capabilities_than_are_looked_for_at_once_all_have_their_turn(
    room: Room,
) -> None:
    names = [f"t{number}" for number in range(BATCH * 2 + 1)]
    for each in names:
        room.enter(each, each)
    await room.offer({each: ["a"] for each in names})
    async with running(room.waiting.run):
        await room.look()
    assert sorted(room.woken) == sorted(names)


async def test_a_capability_of_which_discovery_is_silent_delays_no_other(room: Room) -> None:
    await room.offer({"t": ["a"], "u": ["b"]})
    room.enter("u", "e1")
    room.enter("t", "e2")
    room.discovery.answering.clear()
    async with running(room.waiting.run):
        await room.clock.sleeping()
        room.clock.advance(INTERVAL)
        await room.until(lambda: len(room.discovery.asked) == 2)
        room.watch.answer("acme", "t", ResolveCapabilityResponse(candidates=[candidate("a")]))
        assert room.woken == ["e2"]
        room.discovery.answering.set()
        await room.clock.sleeping()
    assert room.woken == ["e2", "e1"]


async def test_the_agents_of_one_organisation_are_nothing_to_another(room: Room) -> None:
    for organization in ("acme", "other"):
        assert await room.choose("t", organization=organization) is None
        room.enter("t", organization, organization=organization)
    room.waiting.offered("other", "t")
    assert room.woken == ["other"]


async def test_an_execution_that_enters_again_is_woken_once(room: Room) -> None:
    room.enter("t", "e1")
    room.enter("t", "e1")
    room.waiting.offered("acme", "t")
    room.waiting.offered("acme", "t")
    assert room.woken == ["e1"]


async def test_who_is_woken_may_enter_again(room: Room) -> None:
    room.waiting.enter("acme", "t", "e1", lambda: room.enter("t", "e1"))
    room.waiting.offered("acme", "t")
    assert room.woken == []
    room.waiting.offered("acme", "t")
    assert room.woken == ["e1"]


async def test_who_left_is_not_woken_and_not_looked_for(room: Room) -> None:
    room.enter("t", "e1")
    room.enter("t", "e2")
    room.enter("u", "e1")
    room.waiting.leave("e1")
    room.waiting.leave("e1")
    room.waiting.leave("never entered")
    await room.offer({"t": ["a"], "u": ["b"]})
    async with running(room.waiting.run):
        await room.look()
    assert room.woken == ["e2"]
    assert room.discovery.asked == [("acme", "t")]


async def test_who_was_woken_may_leave(room: Room) -> None:
    room.enter("t", "e1")
    room.enter("u", "e1")
    room.waiting.offered("acme", "t")
    room.waiting.leave("e1")
    room.waiting.offered("acme", "u")
    assert room.woken == ["e1"]


async def test_the_last_may_leave_during_the_look(room: Room) -> None:
    await room.offer({"t": ["a"], "u": ["b"]})
    room.enter("t", "e1")
    room.enter("u", "e2")
    room.discovery.answering.clear()
    async with running(room.waiting.run):
        await room.clock.sleeping()
        room.clock.advance(INTERVAL)
        await room.until(lambda: len(room.discovery.asked) == 2)
        room.waiting.leave("e1")
        room.discovery.answering.set()
        await room.clock.sleeping()
    assert room.woken == ["e2"]


async def test_a_loop_begun_again_goes_on(room: Room) -> None:
    room.enter("t", "e1")
    async with running(room.waiting.run):
        await room.clock.sleeping()
    await room.offer({"t": ["a"]})
    async with running(room.waiting.run):
        await asyncio.sleep(0)
        await room.look()
    assert room.woken == ["e1"]


async def test_who_asks_for_more_than_a_capability_is_woken_by_that_alone(room: Room) -> None:
    assert await room.choose("t") is None
    room.enter("t 1 - tier=gold", "e1")
    room.enter("t 2 - ", "e2")
    async with room.watching():
        await room.until_live()
        await room.discovery.offer(candidate("a"))
        await room.until_told()
        assert room.woken == []
        await room.discovery.offer(candidate("b", labels={"tier": "gold"}))
        await room.until_told()
    assert sorted(room.woken) == ["e1", "e2"]
    for each in room.woken:
        room.waiting.leave(each)
