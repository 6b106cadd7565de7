"""Each call of a decision has an agent before it is committed, or is not ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from brikk_shared.errors import Reason
from brikk_shared.selection import Option, Policy
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import decide, start
from brikk_workflow.domain.decision import (
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    Decision,
    Event,
    HistoryEntry,
    TimerFired,
    Values,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.placement import merge, place, unplaced
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.runtime.placing import place_calls
from support.directories import Setting
from support.scripted_discovery import candidate

NOW = datetime(2026, 1, 1, tzinfo=UTC)

PAIR = """
name: pair
steps:
  - {id: a, after: [], call: {capability: t.a}}
  - {id: b, after: [], call: {capability: t.b}}
"""

CHAIN = """
name: chain
steps:
  - {id: a, call: {capability: t.a}, retry: {max_attempts: 3}}
  - {id: b, call: {capability: t.b, input: {text: "${steps.a.output.text}"}}}
"""


def compiled(text: str) -> CompiledWorkflow:
    workflow = read_yaml(text)
    assert isinstance(workflow, CompiledWorkflow), workflow
    return workflow


@dataclass
class Play:
    """An execution whose decisions are placed with the agents that are live."""

    workflow: CompiledWorkflow
    agents: Mapping[str, list[str]]
    now: datetime = NOW
    outputs: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.setting = Setting()

    @property
    def values(self) -> Values:
        return Values(execution="e1", input={}, outputs=dict(self.outputs))

    async def begin(self) -> Decision:
        await self.setting.offer(self.agents)
        return await self._place(
            start(self.workflow, values=self.values, now=self.now, random=lambda: 0.5)
        )

    async def tell(self, *events: Event) -> Decision:
        return await self._place(self._follow(Decision(state=self.state), events))

    async def _place(self, decision: Decision) -> Decision:
        placed, self.candidates = await place_calls(
            decision, directory=self.setting.directory, organization="acme", follow=self._follow
        )
        self.state = placed.state
        self.outputs |= placed.outputs
        return placed

    def _follow(self, made: Decision, events: Sequence[Event]) -> Decision:
        values = self.values.after(made)
        return decide(
            self.workflow, made.state, events, values=values, now=self.now, random=lambda: 0.5
        )

    def failed(self, step_id: str) -> AttemptFailed:
        """What the agent of the call in flight answers when it fails."""
        step = self.state.step(step_id)
        return AttemptFailed(
            step_id=step_id,
            token=step.token,
            agent=step.agent,
            latency=timedelta(0),
            failure=Failure(
                code="UNAVAILABLE",
                reason=Reason.AGENT_FAILED,
                message="busy",
                metadata={"agent": step.agent},
            ),
        )

    def succeeded(self, step_id: str, **output: Json) -> AttemptSucceeded:
        step = self.state.step(step_id)
        return AttemptSucceeded(
            step_id=step_id,
            token=step.token,
            agent=step.agent,
            latency=timedelta(0),
            output=output,
        )


def types(decision: Decision) -> list[str]:
    return [f"{each.type} {each.step_id}".strip() for each in decision.history]


def begun(decision: Decision) -> list[HistoryEntry]:
    return [each for each in decision.history if each.type == "step.attempt_started"]


def ordered(decision: Decision) -> list[str]:
    return [each.step_id for each in decision.commands if isinstance(each, Call)]


async def test_the_agent_of_each_call_is_in_the_state_and_the_history() -> None:
    play = Play(compiled(PAIR), {"t.a": ["x"], "t.b": ["y"]})
    decision = await play.begin()
    assert {key: step.agent for key, step in decision.state.steps.items()} == {
        "a": "agents/x",
        "b": "agents/y",
    }
    assert [(each.step_id, each.attributes) for each in begun(decision)] == [
        ("a", {"attempt": 1, "token": "a-1-1", "agent": "agents/x"}),
        ("b", {"attempt": 1, "token": "b-1-2", "agent": "agents/y"}),
    ]
    assert play.candidates == {
        "a-1-1": Option(agent="agents/x", endpoint="x:1"),
        "b-1-2": Option(agent="agents/y", endpoint="y:1"),
    }
    assert set(play.setting.discovery.asked) == {("acme", "t.a"), ("acme", "t.b")}


async def test_calls_are_placed_by_the_policy_of_their_step() -> None:
    call = "{capability: t.a, policy: round_robin}"
    steps = "".join(f"  - {{id: s{n}, after: [], call: {call}}}\n" for n in range(4))
    play = Play(compiled(f"name: fan\nsteps:\n{steps}"), {"t.a": ["x", "y"]})
    await play.begin()
    agents = sorted(each.agent for each in play.candidates.values())
    assert agents == ["agents/x", "agents/x", "agents/y", "agents/y"]
    assert play.setting.choices == {Policy.ROUND_ROBIN: 4}


async def test_a_retry_goes_to_another_agent_than_the_one_that_failed() -> None:
    play = Play(compiled(CHAIN), {"t.a": ["x", "y"]})
    await play.begin()
    for _ in range(2):
        before = play.state.step("a").agent
        failed = await play.tell(play.failed("a"))
        assert failed.commands == ()
        assert failed.state.step("a").agent == before
        play.now += timedelta(minutes=10)
        retried = await play.tell(TimerFired())
        assert ordered(retried) == ["a"]
        assert {before, retried.state.step("a").agent} == {"agents/x", "agents/y"}
        assert begun(retried)[0].attributes["agent"] == retried.state.step("a").agent


async def test_a_call_that_is_lost_twice_at_once_is_made_once_more() -> None:
    play = Play(compiled(PAIR), {"t.a": ["x"], "t.b": ["y"]})
    await play.begin()
    decision = await play.tell(CallsLost(), CallsLost())
    assert [each.attributes.get("agent") for each in begun(decision)] == ["agents/x", "agents/y"]
    assert [each.attributes["token"] for each in begun(decision)] == list(play.candidates)


async def test_what_orders_no_call_stays_as_it_is() -> None:
    play = Play(compiled(CHAIN), {"t.a": ["x"]})
    await play.begin()
    late = decide(
        play.workflow,
        play.state,
        [AgentMissing(step_id="a", token="a-1-0")],
        values=play.values,
        now=NOW,
        random=lambda: 0.5,
    )
    assert place(late, {}) is late
    assert unplaced(late, ()) == []


async def test_a_call_with_nobody_to_go_to_waits_from_the_same_decision_on() -> None:
    play = Play(compiled(PAIR), {"t.a": ["x"]})
    decision = await play.begin()
    assert types(decision) == [
        "execution.started",
        "step.attempt_started a",
        "step.attempt_started b",
        "step.waiting b",
    ]
    assert [each.sequence for each in decision.history] == [1, 2, 3, 4]
    assert decision.state.sequence == 4
    assert ordered(decision) == ["a"]
    assert decision.state.step("a").agent == "agents/x"
    assert decision.state.step("b").status is StepStatus.WAITING
    assert [each.attributes.get("agent") for each in begun(decision)] == ["agents/x", None]
    assert list(play.candidates) == ["a-1-1"]


async def test_merging_loses_nothing_of_the_first_decision() -> None:
    play = Play(compiled(CHAIN), {"t.a": ["x"]})
    await play.begin()
    decision = await play.tell(play.succeeded("a", text="hi"))
    assert types(decision) == ["step.succeeded a", "step.attempt_started b", "step.waiting b"]
    assert decision.outputs == {"a": {"text": "hi"}}
    assert [each.type for each in decision.announcements] == ["step.succeeded"]
    assert decision.commands == ()
    assert play.candidates == {}


def test_merging_with_nothing_changes_nothing() -> None:
    workflow = compiled(PAIR)
    values = Values(execution="e1", input={}, outputs={})
    first = start(workflow, values=values, now=NOW, random=lambda: 0.5)
    assert merge(first, Decision(state=first.state)) == first


JUDGES = """
name: judges
steps:
  - {id: a, call: {capability: t.a}}
  - id: b
    call:
      capability: t.b
      select: all
      quorum: 2
      selector: "${steps.a.output.where}"
      input: {text: "${steps.a.output.text}"}
"""


async def test_who_is_there_is_called_in_the_same_breath() -> None:
    play = Play(compiled(JUDGES), {"t.a": ["x"]})
    await play.begin()
    zone = {"zone": "east"}
    await play.setting.discovery.offer(
        candidate("y", "t.b", labels=zone),
        candidate("other", "t.b"),
        candidate("z", "t.b", labels=zone),
    )
    decision = await play.tell(play.succeeded("a", text="hi", where="zone in (east)"))
    assert types(decision) == [
        "step.succeeded a",
        "step.started b",
        "step.agents_found b",
        "step.attempt_started b/0",
        "step.attempt_started b/1",
    ]
    calls = [each for each in decision.commands if isinstance(each, Call)]
    assert len(calls) == len(decision.commands) == 2
    assert {each.agent for each in calls} == {"agents/y", "agents/z"}
    # What was put out in this very breath is read.
    assert [each.input for each in calls] == [{"text": "hi"}] * 2
    for call in calls:
        assert play.candidates[call.token].agent == call.agent
        assert decision.state.step(call.step_id).agent == call.agent


async def test_too_few_are_waited_for() -> None:
    play = Play(compiled(JUDGES), {"t.a": ["x"], "t.b": ["y", "z"]})
    await play.begin()
    decision = await play.tell(play.succeeded("a", text="hi", where="zone"))
    assert decision.commands == ()
    assert decision.state.step("b").status is StepStatus.WAITING


async def test_a_leg_goes_to_its_agent_or_to_nobody() -> None:
    play = Play(compiled(JUDGES), {"t.a": ["x"], "t.b": ["y", "z"]})
    await play.begin()
    await play.tell(play.succeeded("a", text="hi", where="!zone"))
    (gone,) = (path for path, step in play.state.steps.items() if step.agent == "agents/y")
    async with play.setting.watching():
        await play.setting.until_live("t.b")
        await play.setting.discovery.withdraw("y", "t.b")
        await play.setting.until(lambda: play.setting.known("t.b") == {"z"})
        lost = await play.tell(CallsLost())
    # It was one of two that were needed.
    assert lost.state.status is ExecutionStatus.FAILED
    assert f"step.failed {gone}" in types(lost)


CAPABILITIES = ("t.a", "t.b", "t.c")


@settings(deadline=None)
@given(
    wanted=st.lists(st.sampled_from(CAPABILITIES), min_size=1, max_size=6),
    live=st.dictionaries(
        st.sampled_from(CAPABILITIES), st.lists(st.sampled_from("xyz"), unique=True)
    ),
    lost=st.integers(0, 2),
)
async def test_every_call_that_is_ordered_has_an_agent_everywhere(
    wanted: list[str], live: dict[str, list[str]], lost: int
) -> None:
    steps = "".join(
        f"  - {{id: s{number}, after: [], call: {{capability: {capability}}}}}\n"
        for number, capability in enumerate(wanted)
    )
    play = Play(compiled(f"name: wide\nsteps:\n{steps}"), live)
    decision = await play.begin()
    sequence = 0
    if lost:
        sequence = decision.state.sequence
        decision = await play.tell(*[CallsLost()] * lost)
    calls = [each for each in decision.commands if isinstance(each, Call)]
    attempts = {each.attributes["token"]: each.attributes.get("agent") for each in begun(decision)}
    for call in calls:
        step = decision.state.step(call.step_id)
        assert (step.status, step.token) == (StepStatus.RUNNING, call.token)
        assert step.agent == play.candidates[call.token].agent == attempts.pop(call.token)
        assert step.agent.removeprefix("agents/") in live[call.capability]
    assert set(attempts.values()) <= {None}
    assert {each.token for each in calls} == set(play.candidates)
    for number, capability in enumerate(wanted):
        status = decision.state.step(f"s{number}").status
        assert status is (StepStatus.RUNNING if live.get(capability) else StepStatus.WAITING)
    assert [each.sequence for each in decision.history] == list(
        range(sequence + 1, decision.state.sequence + 1)
    )
