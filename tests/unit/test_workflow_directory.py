"""The agent directory: few questions, answers that outlive discovery, a fair choice."""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brikk.discovery.v1.discovery_service_pb2 import (
    ResolveCapabilityRequest,
    ResolveCapabilityResponse,
)
from brikk_shared.testing import ManualClock
from brikk_workflow.clients.directory import CAPABILITIES_KEPT, AgentDirectory, Candidate
from support.scripted_discovery import ScriptedDiscovery

TTL = timedelta(seconds=1)
MOMENT = timedelta(milliseconds=1)


class Setting:
    """A directory under test, and the discovery it asks."""

    def __init__(self, **agents: list[str]) -> None:
        self.clock = ManualClock()
        self.discovery = ScriptedDiscovery(agents=agents)
        self.directory = AgentDirectory(self.discovery.resolve, ttl=TTL, clock=self.clock)

    async def choose(self, capability: str = "t", *, avoid: str = "") -> str | None:
        """The id of the agent that is chosen."""
        chosen = await self.directory.choose("acme", capability, avoid=avoid)
        return chosen.agent.removeprefix("agents/") if chosen else None

    @property
    def questions(self) -> int:
        return len(self.discovery.asked)


async def test_a_candidate_has_a_name_and_an_endpoint() -> None:
    directory = Setting(t=["a"]).directory
    assert await directory.choose("acme", "t") == Candidate(agent="agents/a", endpoint="a:1")
    assert await directory.choose("acme", "unknown") is None
    assert await directory.available("acme", "t")
    assert not await directory.available("acme", "unknown")


async def test_an_answer_is_used_until_it_is_stale() -> None:
    setting = Setting(t=["a"])
    assert await setting.choose() == "a"
    setting.discovery.agents = {"t": ["b"]}
    setting.clock.advance(TTL - MOMENT)
    assert await setting.choose() == "a"
    assert setting.questions == 1
    setting.clock.advance(MOMENT)
    assert await setting.choose() == "b"
    assert setting.questions == 2


async def test_that_nobody_is_live_is_an_answer_like_any_other() -> None:
    setting = Setting()
    assert await setting.choose() is None
    assert await setting.choose() is None
    assert setting.questions == 1


async def test_who_asks_at_once_shares_one_question_per_organisation_and_capability() -> None:
    setting = Setting(t=["a"], u=["b"])
    directory = setting.directory
    await asyncio.gather(
        *(
            directory.choose(organization, capability)
            for organization in ("acme", "other")
            for capability in ("t", "u")
            for _ in range(50)
        )
    )
    assert Counter(setting.discovery.asked) == {
        ("acme", "t"): 1,
        ("acme", "u"): 1,
        ("other", "t"): 1,
        ("other", "u"): 1,
    }


async def test_a_caller_that_gives_up_takes_the_answer_from_nobody() -> None:
    setting = Setting(t=["a"])
    setting.discovery.answering.clear()
    gives_up, stays = (asyncio.create_task(setting.choose()) for _ in range(2))
    await asyncio.sleep(0)
    gives_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    setting.discovery.answering.set()
    assert await stays == "a"
    assert setting.questions == 1


async def test_while_discovery_is_down_the_last_answer_serves() -> None:
    setting = Setting(t=["a"])
    await setting.choose()
    setting.discovery.down = True
    for _ in range(3):
        setting.clock.advance(TTL)
        assert [await setting.choose() for _ in range(5)] == ["a"] * 5
    assert setting.questions == 4
    setting.discovery.down = False
    setting.discovery.agents = {"t": ["b"]}
    setting.clock.advance(TTL)
    assert await setting.choose() == "b"


async def test_while_discovery_is_down_nobody_is_live_of_whom_it_never_told() -> None:
    setting = Setting(t=["a"])
    setting.discovery.down = True
    assert await setting.choose() is None
    setting.discovery.down = False
    setting.clock.advance(TTL)
    assert await setting.choose() == "a"


async def test_a_defect_reaches_everyone_who_asked_and_the_next_question_is_asked() -> None:
    questions: list[str] = []

    async def resolve(_: str, request: ResolveCapabilityRequest) -> ResolveCapabilityResponse:
        questions.append(request.capability)
        raise LookupError

    directory = AgentDirectory(resolve, ttl=TTL, clock=ManualClock())
    for _ in range(2):
        outcomes = await asyncio.gather(
            *(directory.choose("acme", "t") for _ in range(3)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {LookupError}
    assert questions == ["t", "t"]


async def test_equals_take_turns() -> None:
    setting = Setting(t=["a", "b", "c"])
    chosen = [await setting.choose() for _ in range(9)]
    assert Counter(chosen) == {"a": 3, "b": 3, "c": 3}
    assert all(one != following for one, following in pairwise(chosen))


async def test_turns_are_taken_whatever_else_is_called_and_whenever_discovery_is_asked() -> None:
    setting = Setting(t=["a", "b"], u=["c", "d"])
    chosen = []
    for _ in range(4):
        chosen += [await setting.choose("t"), await setting.choose("u")]
        setting.clock.advance(TTL)
    assert Counter(chosen) == {"a": 2, "b": 2, "c": 2, "d": 2}


async def test_the_agent_to_avoid_is_taken_only_when_nobody_else_is_there() -> None:
    setting = Setting(t=["a", "b"], u=["a"])
    with setting.directory.calling("agents/b"):
        assert {await setting.choose(avoid="agents/a") for _ in range(4)} == {"b"}
    assert await setting.choose("u", avoid="agents/a") == "a"
    assert await setting.choose("unknown", avoid="agents/a") is None


@settings(deadline=None)
@given(
    live=st.sets(st.sampled_from("abcde")),
    calls=st.lists(st.sampled_from("abcdef")),
    ended=st.integers(0, 10),
    avoid=st.sampled_from("abcdef"),
)
async def test_the_one_with_the_fewest_calls_in_flight_is_chosen(
    live: set[str], calls: list[str], ended: int, avoid: str
) -> None:
    setting = Setting(t=sorted(live))
    with ExitStack() as in_flight:
        for agent in calls[:ended]:
            with pytest.raises(ConnectionError), setting.directory.calling(f"agents/{agent}"):
                raise ConnectionError
        for agent in calls[ended:]:
            in_flight.enter_context(setting.directory.calling(f"agents/{agent}"))
        chosen = await setting.choose(avoid=f"agents/{avoid}")
    if not live:
        assert chosen is None
        return
    pool = live - {avoid} or live
    load = Counter(calls[ended:])
    assert chosen in pool
    assert load[chosen] == min(load[agent] for agent in pool)


class Name(str):
    """An agent's name of which a test can tell whether it is still remembered."""


def test_an_agent_without_calls_is_forgotten() -> None:
    directory = Setting().directory
    names: weakref.WeakSet[Name] = weakref.WeakSet()
    name = Name("agents/a")
    names.add(name)
    with directory.calling(name), directory.calling(name):
        pass
    del name
    assert not names


async def test_past_its_bound_it_forgets_the_oldest_answer() -> None:
    setting = Setting(refreshed=["a"])
    await setting.choose("refreshed")
    await setting.choose("oldest")
    setting.clock.advance(TTL)
    await setting.choose("refreshed")
    for number in range(CAPABILITIES_KEPT - 1):
        await setting.choose(f"filling{number}")
    setting.discovery.down = True
    setting.discovery.asked.clear()
    assert await setting.choose("refreshed") == "a"
    assert setting.discovery.asked == []
    await setting.choose("oldest")
    assert setting.discovery.asked == [("acme", "oldest")]


async def test_an_answer_forgotten_at_once_still_reaches_who_asked() -> None:
    setting = Setting(**{f"t{number}": ["a"] for number in range(CAPABILITIES_KEPT + 2)})
    setting.discovery.answering.clear()
    asking = [asyncio.create_task(setting.choose(each)) for each in setting.discovery.agents]
    await asyncio.sleep(0)
    setting.discovery.answering.set()
    assert set(await asyncio.gather(*asking)) == {"a"}
