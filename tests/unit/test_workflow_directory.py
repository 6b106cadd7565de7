"""The agent directory: no questions in steady state, answers that outlive discovery."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.agent_pb2 import Agent
from brikk_shared.selection import Option, Policy
from brikk_workflow.clients.breakers import FAILURES, FIRST
from brikk_workflow.clients.directory import AgentDirectory
from support.directories import Setting
from support.scripted_discovery import ScriptedDiscovery, candidate


@pytest.fixture
def setting() -> Setting:
    return Setting()


async def test_a_choice_has_a_name_and_an_endpoint(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    assert await setting.choose() == "a"
    assert setting.directory.choose("acme", "t") == Option(agent="agents/a", endpoint="a:1")
    assert await setting.choose("unknown") is None
    assert setting.directory.available("acme", "t")
    assert not setting.directory.available("acme", "unknown")


async def test_nobody_is_known_before_discovery_was_asked(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    assert setting.directory.choose("acme", "t") is None
    assert not setting.directory.available("acme", "t")
    assert setting.directory.find("acme", "t", "agents/a") is None
    assert setting.discovery.asked == []


async def test_in_steady_state_discovery_is_asked_once_per_capability(setting: Setting) -> None:
    await setting.offer({"t": ["a"], "u": ["b"]})
    async with setting.watching():
        await setting.choose("t")
        await setting.choose("u")
        await setting.until_live("u")
        for _ in range(50):
            assert await setting.choose("t") == "a"
            assert await setting.choose("u") == "b"
    assert setting.discovery.asked == [("acme", "t"), ("acme", "u")]


async def test_that_nobody_is_live_is_an_answer_like_any_other(setting: Setting) -> None:
    assert await setting.choose() is None
    assert await setting.choose() is None
    assert setting.discovery.asked == [("acme", "t")]


async def test_who_asks_at_once_shares_one_question_per_organisation_and_capability(
    setting: Setting,
) -> None:
    await setting.offer({"t": ["a"], "u": ["b"]})
    await asyncio.gather(
        *(
            setting.choose(capability, organization=organization)
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


async def test_capabilities_that_are_learnt_together_are_asked_for_together(
    setting: Setting,
) -> None:
    await setting.offer({"t": ["a"], "u": ["b"]})
    setting.discovery.answering.clear()
    learning = asyncio.create_task(setting.directory.learn("acme", ["t", "u"]))
    await setting.until(lambda: len(setting.discovery.asked) == 2)
    setting.discovery.answering.set()
    await learning
    assert setting.known("t") == {"a"}
    assert setting.known("u") == {"b"}


async def test_a_caller_that_gives_up_takes_the_answer_from_nobody(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    setting.discovery.answering.clear()
    gives_up, stays = (asyncio.create_task(setting.choose()) for _ in range(2))
    await asyncio.sleep(0)
    gives_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gives_up
    setting.discovery.answering.set()
    assert await stays == "a"
    assert len(setting.discovery.asked) == 1


async def test_while_discovery_is_silent_what_is_known_waits_for_nothing(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    setting.discovery.answering.clear()
    unknown = asyncio.create_task(setting.choose("u"))
    await asyncio.sleep(0)
    learning = setting.directory.learn("acme", ["t"])
    with pytest.raises(StopIteration):
        learning.send(None)
    assert setting.directory.choose("acme", "t") is not None
    assert not unknown.done()
    setting.discovery.answering.set()
    assert await unknown is None


async def test_while_discovery_is_down_nobody_is_live_of_whom_it_never_told(
    setting: Setting,
) -> None:
    await setting.offer({"t": ["a"]})
    await setting.discovery.set_down(down=True)
    assert await setting.choose() is None
    assert await setting.choose() is None
    assert len(setting.discovery.asked) == 1, "nobody is delayed twice"
    async with setting.watching():
        await setting.discovery.set_down(down=False)
        await setting.until_live()
    assert await setting.choose() == "a"


async def test_a_look_asks_only_while_the_watch_does_not_cover_the_capability(
    setting: Setting,
) -> None:
    assert not await setting.directory.look("acme", "t")
    await setting.offer({"t": ["a"]})
    assert await setting.directory.look("acme", "t")
    assert await setting.directory.look("acme", "t")
    assert len(setting.discovery.asked) == 2
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.withdraw("a")
        await setting.offer({"u": ["b"]})
        await setting.choose("u")
        await setting.until_live("u")
        setting.discovery.asked.clear()
        assert not await setting.directory.look("acme", "t")
        assert setting.discovery.asked == []


async def test_an_answer_that_comes_after_the_watch_told_is_too_old(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    async with setting.watching():
        setting.discovery.answering.clear()
        asking = asyncio.create_task(setting.choose())
        await setting.discovery.until_watched(1)
        setting.discovery.answering.set()
        await asking
        await setting.until_live()
        assert setting.known() == {"a"}


async def test_a_defect_reaches_everyone_who_asked_and_the_next_question_is_asked(
    setting: Setting,
) -> None:
    class Broken(ScriptedDiscovery):
        async def resolve(self, organization: str, capability: str) -> pb.ResolveCapabilityResponse:
            self.asked.append((organization, capability))
            raise LookupError

    broken = Broken()
    directory = AgentDirectory(
        broken, setting.watch, setting.selector, setting.breakers, chosen=lambda _: None
    )
    for _ in range(2):
        outcomes = await asyncio.gather(
            *(directory.learn("acme", ["t"]) for _ in range(3)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {LookupError}
    assert broken.asked == [("acme", "t")] * 2


async def test_agents_to_avoid_are_taken_only_when_nobody_else_is_there(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b"], "u": ["a"]})
    assert {await setting.choose(avoid="a") for _ in range(8)} == {"b"}
    assert await setting.choose("u", avoid="a") == "a"
    assert await setting.choose("unknown", avoid="a") is None


async def test_a_policy_decides_and_is_counted(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b", "c"]})
    turns = [await setting.choose(policy=Policy.ROUND_ROBIN) for _ in range(6)]
    assert Counter(turns) == {"a": 2, "b": 2, "c": 2}
    with (
        setting.selector.calling("acme", "agents/a"),
        setting.selector.calling("acme", "agents/b"),
        setting.selector.calling("other", "agents/c"),
    ):
        assert await setting.choose(policy=Policy.LEAST_IN_FLIGHT) == "c"
    await setting.choose("unknown", policy=Policy.RANDOM)
    assert setting.choices == {Policy.ROUND_ROBIN: 6, Policy.LEAST_IN_FLIGHT: 1}


async def test_a_recorded_agent_is_found_while_it_offers_the_capability(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b"]})
    await setting.choose()
    found = setting.directory.find("acme", "t", "agents/b")
    assert found is not None
    assert found.endpoint == "b:1"
    assert setting.directory.find("acme", "t", "agents/c") is None
    assert setting.directory.find("other", "t", "agents/b") is None


async def shut(setting: Setting, agent: str) -> None:
    for _ in range(FAILURES):
        setting.breakers.missed(Option(agent=f"agents/{agent}", endpoint=f"{agent}:1"))


async def test_an_agent_that_nobody_reaches_is_passed_over(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b"]})
    await setting.choose()
    await shut(setting, "a")
    assert {await setting.choose() for _ in range(20)} == {"b"}
    # It just failed, but it can be reached.
    assert await setting.choose(avoid=["agents/b"]) == "b"


async def test_while_nobody_can_be_reached_there_is_nobody(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b"]})
    await setting.choose()
    await shut(setting, "a")
    await shut(setting, "b")
    assert await setting.choose() is None
    assert not setting.directory.available("acme", "t")
    setting.clock.advance(timedelta(seconds=FIRST))
    assert setting.directory.available("acme", "t")
    on_trial = {await setting.choose(), await setting.choose()}
    assert on_trial == {"a", "b"}
    assert await setting.choose() is None, "one call each is on trial"
    assert setting.breakers.reached(Option(agent="agents/a", endpoint="a:1"))
    assert await setting.choose() == "a"


async def test_labels_narrow_a_choice_down(setting: Setting) -> None:
    await setting.discovery.offer(
        candidate("a", labels={"tier": "free"}), candidate("b", labels={"tier": "gold"})
    )
    await setting.choose()
    for _ in range(20):
        chosen = setting.directory.choose("acme", "t", selector="tier!=free")
        assert chosen is not None
        assert chosen.agent == "agents/b"
    assert setting.directory.choose("acme", "t", selector="tier=none") is None
    assert setting.directory.available("acme", "t 1 - tier=gold")
    assert not setting.directory.available("acme", "t 2 - tier=gold")
    assert not setting.directory.available("acme", "t 1 - tier=none")
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.offer(candidate("b", labels={"tier": "none"}))
        await setting.until(lambda: setting.directory.available("acme", "t 1 - tier=none"))
    assert not setting.directory.available("acme", "t 1 - tier=gold")


async def test_a_muster_is_of_all_who_can_be_reached_or_the_best_of_too_many(
    setting: Setting,
) -> None:
    def muster(most: int) -> tuple[str, ...]:
        return setting.directory.muster("acme", "t", selector="", policy=Policy.BEST, most=most)

    assert muster(3) == ()
    ids = ["a", "b", "c", "d"]
    await setting.offer({"t": ids})
    await setting.discovery.offer(candidate("doubted", state=Agent.STATE_SUSPECT))
    await setting.choose()
    assert set(muster(10)) == {f"agents/{each}" for each in ids}
    for most in (1, 3):
        assert len(set(muster(most))) == most
    assert setting.choices[Policy.BEST] == 1 + 4
    option = setting.directory.reach("acme", "t", "agents/b")
    assert option is not None
    for _ in range(FAILURES):
        setting.breakers.missed(option)
    assert set(muster(10)) == {"agents/a", "agents/c", "agents/d"}
    assert set(muster(2)) < {"agents/a", "agents/c", "agents/d"}
    assert setting.directory.reach("acme", "t", "agents/nobody") is None


async def test_one_that_is_asked_for_by_name_is_there_or_is_known_to_have_left(
    setting: Setting,
) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    assert setting.directory.available("acme", "t 1 agents/a ")
    assert not setting.directory.available("acme", "t 1 agents/b ")
    async with setting.watching():
        await setting.until_live()
        assert setting.directory.available("acme", "t 1 agents/b ")
