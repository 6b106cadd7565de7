"""Discovery as the workflow service sees it: the real one and the scripted one are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import pytest

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk.discovery.v1.agent_pb2 import PROTOCOL_BRIKK
from brikk_shared.channel import ServiceToken, open_channel
from brikk_shared.clock import SystemClock
from brikk_shared.errors import InvalidArgument, Reason
from brikk_shared.testing import Tokens
from brikk_workflow.clients.discovery import Discovery, DiscoveryClient
from brikk_workflow.clients.view import View
from brikk_workflow.settings import WorkflowSettings
from support import discovery
from support.scripted_discovery import ScriptedDiscovery, candidate


class Held(Protocol):
    """A discovery under test, and how agents come to it and go."""

    port: Discovery

    async def offer(self, agent: str, *capabilities: str) -> None: ...

    async def withdraw(self, agent: str) -> None: ...


class Scripted:
    def __init__(self) -> None:
        self.discovery = ScriptedDiscovery()
        self.port: Discovery = self.discovery
        self.offers: dict[str, Collection[str]] = {}

    async def offer(self, agent: str, *capabilities: str) -> None:
        self.offers[agent] = capabilities
        await self.discovery.offer(*(candidate(agent, each) for each in capabilities))

    async def withdraw(self, agent: str) -> None:
        for each in self.offers.pop(agent):
            await self.discovery.withdraw(agent, each)


class Real:
    def __init__(self, port: Discovery, caller: discovery.Caller) -> None:
        self.port = port
        self.caller = caller
        self.epochs: dict[str, int] = {}

    async def offer(self, agent: str, *capabilities: str) -> None:
        message = discovery.agent(*capabilities, endpoint=f"{agent}:1")
        answer = await self.caller.send(discovery.registration(agent, message))
        self.epochs[agent] = answer.epoch

    async def withdraw(self, agent: str) -> None:
        await self.caller.deregister(agent, self.epochs.pop(agent))


@pytest.fixture(params=["scripted", "real"])
async def held(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Held]:
    if request.param == "scripted":
        yield Scripted()
        return
    tokens, clock = Tokens(tmp_path), SystemClock()
    token = ServiceToken(
        tokens.services,
        subject="services/workflow",
        scopes=["agent.read", "agent.report"],
        audience="brikk",
        clock=clock,
    )
    settings = WorkflowSettings.model_validate({"call_key": tokens.service_key, "issuers": []})
    async with (
        discovery.serving(f"sqlite:///{tmp_path}/discovery.db", tokens) as served,
        open_channel(served.address, settings, token) as channel,
    ):
        yield Real(DiscoveryClient(channel), served.caller())


class Watching:
    """A watch, read into a view."""

    def __init__(self, view: View, messages: AsyncIterator[pb.WatchCapabilitiesResponse]) -> None:
        self.view = view
        self.messages = messages
        self.kinds: list[str] = []
        self.token = ""

    async def until(self, capability: str, *agents: str) -> None:
        """Reads on until exactly these offer a capability and there is a token to go on from."""
        while not self.token or self.known(capability) != set(agents):
            message = await anext(self.messages)
            self.kinds.append(str(message.WhichOneof("event")))
            self.view.apply(message, 0.0)
            self.token = message.resume_token

    def known(self, capability: str) -> set[str]:
        return {
            each.agent.removeprefix("agents/") for each in self.view.rosters[capability].options
        }


def a_view(*capabilities: str) -> View:
    view = View("acme")
    for each in capabilities:
        view.want(each)
    return view


async def test_a_watch_tells_what_is_and_then_what_changes(held: Held) -> None:
    await held.offer("a", "text.one", "text.two")
    await held.offer("b", "text.one", "text.unwatched")
    view = a_view("text.one", "text.two")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        watching = Watching(view, messages)
        await watching.until("text.one", "a", "b")
        assert watching.known("text.two") == {"a"}
        assert set(watching.kinds) == {"snapshot"}
        await held.offer("c", "text.two")
        await watching.until("text.two", "a", "c")
        await held.withdraw("a")
        await watching.until("text.two", "c")
        assert watching.known("text.one") == {"b"}
        assert set(view.rosters) == {"text.one", "text.two"}
        assert view.rosters["text.two"].options[0].endpoint == "c:1"


async def test_who_comes_back_is_told_what_was_missed_and_no_more(held: Held) -> None:
    await held.offer("a", "text.one")
    await held.offer("b", "text.one")
    view = a_view("text.one")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        await Watching(view, messages).until("text.one", "a", "b")
    await held.withdraw("a")
    await held.offer("c", "text.one")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        watching = Watching(view, messages)
        await watching.until("text.one", "b", "c")
        assert "snapshot" not in watching.kinds


async def test_who_comes_back_and_missed_nothing_is_told_so(held: Held) -> None:
    view = a_view("text.one")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        await Watching(view, messages).until("text.one")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        watching = Watching(view, messages)
        await watching.until("text.one")
        assert "snapshot" not in watching.kinds


async def test_a_token_is_for_the_same_watch_only(held: Held) -> None:
    view = a_view("text.one")
    async with aclosing(held.port.watch("acme", *view.begin())) as messages:
        await Watching(view, messages).until("text.one")
    _, token = view.begin()
    assert token
    with pytest.raises(InvalidArgument) as refused:
        await anext(held.port.watch("acme", ["text.one", "text.two"], token))
    assert refused.value.reason is Reason.INVALID_PAGE_TOKEN


async def test_a_question_is_answered(held: Held) -> None:
    await held.offer("a", "text.one")
    await held.offer("b", "text.two")
    [found] = (await held.port.resolve("acme", "text.one")).candidates
    assert (found.agent, found.endpoint, found.protocol) == ("agents/a", "a:1", PROTOCOL_BRIKK)
    assert not (await held.port.resolve("acme", "text.unknown")).candidates


async def test_a_report_is_taken(held: Held) -> None:
    await held.offer("a", "text.one")
    outcome = pb.Outcome(agent="agents/a", capability="text.one", successes=3)
    await held.port.report("acme", [outcome])
