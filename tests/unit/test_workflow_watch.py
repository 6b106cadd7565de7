"""The watch of discovery: one stream per organisation that grows, shrinks, breaks and resumes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from brikk_shared.testing import ManualClock
from brikk_workflow.clients import watch as module
from brikk_workflow.clients.watch import (
    DISUSE,
    FIRST_PAUSE,
    GATHERING,
    LONGEST_PAUSE,
    MAX_CAPABILITIES,
    MAX_ORGANIZATIONS,
)
from support.directories import Setting
from support.running import running
from support.scripted_discovery import candidate


@pytest.fixture
def setting() -> Setting:
    return Setting()


def watched(setting: Setting, number: int = -1) -> tuple[set[str], str]:
    """What a watch was about, and from where it went on."""
    _, capabilities, token = setting.discovery.watches[number]
    return set(capabilities), token


async def test_what_changes_is_known_and_told(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.offer(candidate("b"))
        await setting.until_told()
        assert setting.known() == {"a", "b"}
        await setting.discovery.withdraw("a")
        await setting.until_told()
        assert setting.known() == {"b"}
    assert set(setting.told) == {("acme", "t")}
    assert len(setting.discovery.watches) == 1


async def test_nobody_is_told_when_the_last_agent_goes(setting: Setting) -> None:
    await setting.offer({"t": ["a"], "u": ["b"]})
    await setting.choose("t")
    await setting.choose("u")
    async with setting.watching():
        await setting.until_live()
        setting.told.clear()
        await setting.discovery.withdraw("a")
        await setting.discovery.offer(candidate("c", "u"))
        await setting.until_told()
        assert setting.known() == set()
    assert setting.told == [("acme", "u")]


async def test_each_organisation_has_one_stream_about_all_its_capabilities(
    setting: Setting,
) -> None:
    for organization in ("acme", "other"):
        for capability in ("t", "u"):
            await setting.choose(capability, organization=organization)
    async with setting.watching():
        await setting.discovery.until_watched(2)
        await setting.until_live(organization="acme")
        await setting.until_live(organization="other")
        assert setting.watch.live == setting.watch.organizations == 2
    assert sorted((each[0], sorted(each[1])) for each in setting.discovery.watches) == [
        ("acme", ["t", "u"]),
        ("other", ["t", "u"]),
    ]


async def test_what_comes_into_use_is_gathered_before_the_stream_is_begun_anew(
    setting: Setting,
) -> None:
    await setting.choose("a")
    async with setting.watching():
        await setting.until_live("a")
        count = len(setting.discovery.watches)
        for capability in "bcdef":
            await setting.choose(capability)
        setting.clock.advance(GATHERING)
        await setting.discovery.until_watched(count + 1)
        await setting.until_live("f")
    assert len(setting.discovery.watches) == count + 1
    assert watched(setting) == (set("abcdef"), "")


async def test_a_stream_that_broke_is_resumed_and_what_was_missed_is_told(
    setting: Setting,
) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.break_watches()
        await setting.until(lambda: not setting.watch.live)
        assert setting.known() == {"a"}
        await setting.discovery.offer(candidate("b"))
        setting.clock.advance(FIRST_PAUSE)
        await setting.until_told()
        assert setting.known() == {"a", "b"}
    assert watched(setting) == ({"t"}, "t@1")


async def test_what_was_known_serves_while_discovery_is_away(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.set_down(down=True)
        await setting.until(lambda: not setting.watch.live)
        for _ in range(10):
            assert await setting.choose() == "a"
            count = len(setting.discovery.watches)
            while len(setting.discovery.watches) == count:
                setting.clock.advance(LONGEST_PAUSE)
                await asyncio.sleep(0)
        await setting.discovery.set_down(down=False)
        await setting.discovery.withdraw("a")
        await setting.discovery.offer(candidate("b"))
        await setting.until_live()
        assert await setting.choose() == "b"


async def test_where_no_watch_is_taken_it_asks_instead(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    setting.discovery.refuses_watches = True
    async with setting.watching():
        await setting.until(lambda: bool(setting.discovery.watches))
        await setting.discovery.withdraw("a")
        await setting.discovery.offer(candidate("b"))
        async with asyncio.timeout(20):
            while setting.known() != {"b"}:
                setting.clock.advance(LONGEST_PAUSE)
                await asyncio.sleep(0)
        assert ("acme", "t") in setting.told
        setting.discovery.refuses_watches = False
        await setting.until_live()
    assert watched(setting) == ({"t"}, "")


async def test_the_pauses_double_and_are_cut_at_random(setting: Setting) -> None:
    await setting.choose()
    await setting.discovery.set_down(down=True)
    clock, pauses = setting.clock, []

    class Recording(ManualClock):
        async def sleep(self, duration: timedelta) -> None:
            if duration != GATHERING:
                pauses.append(duration)
                duration = timedelta(0)
                if len(pauses) == 9:
                    await asyncio.Event().wait()
            await clock.sleep(duration)

    watch = module.Watch(setting.discovery, clock=Recording(), random=lambda: 0.5)
    watch.want("acme", "t")
    async with running(watch.run):
        await setting.discovery.until_watched(9)
    doubled = [FIRST_PAUSE * 2**failures / 2 for failures in range(1, 9)]
    assert pauses[:8] == [min(each, LONGEST_PAUSE / 2) for each in doubled]


async def test_after_a_resync_the_stream_goes_on(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
        await setting.discovery.break_watches()
        await setting.until(lambda: not setting.watch.live)
        await setting.discovery.withdraw("a")
        await setting.discovery.offer(candidate("b"))
        setting.discovery.forget_changes()
        await setting.until_live()
        assert setting.known() == {"b"}


async def test_a_token_that_discovery_refuses_is_not_shown_twice(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
        setting.discovery.renounce_tokens()
        await setting.discovery.break_watches()
        await setting.until(lambda: not setting.watch.live)
        await setting.until_live()
    assert [token for _, _, token in setting.discovery.watches] == ["", "t@1", ""]


async def test_what_is_used_no_more_is_forgotten(setting: Setting) -> None:
    async def disuse(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                setting.clock.advance(DISUSE)
                await asyncio.sleep(0)

    await setting.choose("t")
    await setting.choose("u")
    async with setting.watching():
        await setting.until_live("u")
        roster = setting.watch.roster("acme", "t")
        assert roster is not None
        async with running(setting.watch.tidy):
            await disuse(lambda: not roster.used)
            await setting.choose("t")
            await disuse(lambda: not setting.watch.covers("acme", "u"))
            assert setting.watch.covers("acme", "t")
            await disuse(lambda: not setting.watch.organizations)
        await setting.offer({"t": ["a"]})
        assert await setting.choose("t") == "a", "it comes back when it is needed"
        await setting.until_live("t")


async def test_capabilities_are_bounded_and_those_in_use_stay(setting: Setting) -> None:
    for number in range(MAX_CAPABILITIES):
        setting.watch.want("acme", f"t{number}")
    for number in range(MAX_CAPABILITIES):
        roster = setting.watch.roster("acme", f"t{number}")
        assert roster is not None
        roster.used = number != 7
    setting.watch.want("acme", "one-more")
    assert setting.watch.roster("acme", "t7") is None
    assert setting.watch.roster("acme", "t0") is not None
    setting.watch.want("acme", "another")
    assert setting.watch.roster("acme", "t0") is None
    assert setting.watch.roster("acme", "one-more") is not None


async def test_organisations_are_bounded_and_their_streams_end(setting: Setting) -> None:
    async with setting.watching():
        for number in range(MAX_ORGANIZATIONS + 5):
            setting.watch.want(f"o{number}", "t")
        await setting.until_live(organization=f"o{MAX_ORGANIZATIONS + 4}")
        assert setting.watch.organizations == MAX_ORGANIZATIONS
        assert setting.watch.roster("o0", "t") is None
        assert setting.watch.roster("o5", "t") is not None


async def test_begun_again_it_has_forgotten_nothing(setting: Setting) -> None:
    await setting.offer({"t": ["a"]})
    await setting.choose()
    async with setting.watching():
        await setting.until_live()
    assert setting.watch.live == 0
    assert setting.known() == {"a"}
    async with setting.watching():
        await setting.until_live()
    assert watched(setting) == ({"t"}, "t@1")


async def test_candidates_are_counted(setting: Setting) -> None:
    await setting.offer({"t": ["a", "b"], "u": ["a"]})
    await setting.choose("t")
    await setting.choose("u")
    await setting.choose("t", organization="other")
    assert setting.watch.candidates == 5
