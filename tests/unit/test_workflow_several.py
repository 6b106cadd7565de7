"""Steps that call several agents: when enough of them are enough, and what becomes of the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import calls_in_flight
from brikk_workflow.domain.decision import (
    AgentAvailable,
    AgentGone,
    AgentMissing,
    AgentsFound,
    CallsLost,
    CancelRequested,
    Decision,
    Muster,
    PauseRequested,
    ResumeRequested,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from brikk_workflow.domain.waiting import awaited
from support.play import WRONG, Play, compiled

JUDGES = """
name: judges
steps:
  - id: judges
    call: {capability: t.judge, input: {claim: "${input.claim}"}, SELECT}
    retry: {max_attempts: 2, initial: 1s, jitter: 0}
MORE
output: "${steps.judges.output}"
"""


def judged(select: str, *agents: str, more: str = "") -> Play:
    """A step that has called these agents."""
    text = JUDGES.replace("SELECT", select).replace("MORE", more)
    play = Play(compiled(text), input={"claim": "x"})
    if agents:
        find(play, *agents)
    return play


def find(play: Play, *agents: str, step: str = "judges") -> Decision:
    """The agents are there."""
    token = play.state.step(step).token
    names = tuple(f"agents/{each}" for each in agents)
    return play.tell(AgentsFound(step_id=step, token=token, agents=names))


def answers(**given: Json) -> list[Json]:
    return [{"agent": f"agents/{agent}", "output": output} for agent, output in given.items()]


def test_each_agent_is_called_on_a_leg_of_its_own() -> None:
    play = judged("select: all")
    (order,) = play.last.commands
    assert isinstance(order, Muster)
    assert (order.capability, order.least, order.most) == ("t.judge", 1, 10)
    assert play.state.calls == 0
    find(play, "a", "b")
    calls = play.calls()
    assert {path: call.agent for path, call in calls.items()} == {
        "judges/0": "agents/a",
        "judges/1": "agents/b",
    }
    assert all(call.input == {"claim": "x"} for call in calls.values())
    assert play.state.calls == 2
    assert play.types()[1:] == [
        "step.started judges",
        "step.agents_found judges",
        "step.attempt_started judges/0",
        "step.attempt_started judges/1",
    ]


def test_all_must_succeed_unless_it_says_how_many() -> None:
    play = judged("select: all", "a", "b")
    play.tell(play.succeeded("judges/1", vote="no"))
    assert play.status() is ExecutionStatus.RUNNING
    play.tell(play.succeeded("judges/0", vote="yes"))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.outputs["judges"] == answers(a={"vote": "yes"}, b={"vote": "no"})
    assert play.outputs.keys() == {"judges"}
    assert play.state.steps.keys() == {"judges"}


def test_a_quorum_is_enough_and_cancels_the_rest() -> None:
    play = judged("select: all, quorum: 2", "a", "b", "c")
    play.tell(play.succeeded("judges/2", vote=1.0))
    late = play.succeeded("judges/1", vote=3.0)
    play.tell(play.succeeded("judges/0", vote=2.0))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.cancels() == ["judges/1"]
    assert play.outputs["judges"] == answers(a={"vote": 2.0}, b=None, c={"vote": 1.0})
    assert late.token


@pytest.mark.parametrize(
    ("quorum", "count", "needed"),
    [("60%", 5, 3), ("60%", 4, 3), ("50%", 4, 2), ("100%", 3, 3), ("1%", 3, 1), ("3", 5, 3)],
)
def test_a_share_is_of_those_that_are_called(quorum: str, count: int, needed: int) -> None:
    play = judged(f"select: all, quorum: {quorum}", *(f"a{each}" for each in range(count)))
    for number in range(needed):
        assert play.status() is ExecutionStatus.RUNNING
        play.tell(play.succeeded(f"judges/{number}"))
    assert play.status() is ExecutionStatus.SUCCEEDED


def test_it_fails_as_soon_as_a_quorum_cannot_be_reached() -> None:
    play = judged("select: all, quorum: 2", "a", "b", "c")
    play.tell(play.failed("judges/0", WRONG))
    assert play.status() is ExecutionStatus.RUNNING
    play.tell(play.failed("judges/2", WRONG))
    assert play.status() is ExecutionStatus.FAILED
    assert play.cancels() == ["judges/1"]
    failure = play.state.step("judges").failure
    assert failure is not None
    assert (failure.code, failure.message) == (
        "INVALID_ARGUMENT",
        "Step judges/2 failed: wrong",
    )
    assert play.outputs == {}


def test_a_success_and_a_failure_that_come_together_count_in_their_order() -> None:
    play = judged("select: all, quorum: 1", "a", "b")
    play.tell(play.failed("judges/1", WRONG), play.succeeded("judges/0", vote="yes"))
    assert play.outputs["judges"] == answers(a={"vote": "yes"}, b=None)


def test_a_leg_is_repeated_at_its_own_agent() -> None:
    play = judged("select: all", "a", "b")
    play.tell(play.failed("judges/1"))
    assert play.state.step("judges/1").status is StepStatus.BACKING_OFF
    play.later(timedelta(seconds=2))
    (call,) = play.calls().values()
    assert (call.step_id, call.attempt, call.agent) == ("judges/1", 2, "agents/b")
    play.tell(play.failed("judges/1"))
    assert play.status() is ExecutionStatus.FAILED


def test_the_first_to_succeed_wins_the_race() -> None:
    play = judged("select: race", "a", "b", "c")
    play.tell(play.failed("judges/0", WRONG))
    first, second = play.succeeded("judges/2", vote="c"), play.succeeded("judges/1", vote="b")
    play.tell(replace(first, agent="agents/c"), second)
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.outputs["judges"] == {"vote": "c"}
    assert play.state.step("judges").agent == "agents/c"
    assert play.cancels() == ["judges/1"]
    # The call was announced as its agent's; the step must not count as another one.
    (told,) = [data for kind, data in play.announced if data.get("step") == "judges"]
    assert told["agent"] == ""


def test_a_late_result_of_a_loser_is_recorded_only() -> None:
    play = judged("select: race", "a", "b", more="  - {id: then, call: {capability: t.then}}")
    late = play.succeeded("judges/1", vote="b")
    play.tell(play.succeeded("judges/0", vote="a"))
    play.tell(late)
    assert play.types()[-1] == "step.late_result judges/1"
    assert play.outputs["judges"] == {"vote": "a"}


def test_a_race_is_lost_when_everybody_failed() -> None:
    play = judged("select: race", "a", "b")
    play.tell(play.failed("judges/0", WRONG))
    play.tell(play.failed("judges/1", WRONG))
    assert play.status() is ExecutionStatus.FAILED


def test_it_waits_until_somebody_is_there() -> None:
    play = judged("select: race, selector: tier=gold")
    assert isinstance(play.last.commands[0], Muster)
    assert play.last.commands[0].selector == "tier=gold"
    play.tell(play.missing("judges"))
    assert play.state.step("judges").status is StepStatus.WAITING
    assert play.state.calls == 0
    (ask,) = awaited(play.workflow, play.state)
    assert ask == "t.judge 1 - tier=gold"
    play.tell(AgentAvailable(capability="t.judge"))
    assert not play.last.commands
    play.tell(AgentAvailable(capability=ask))
    find(play, "a")
    assert play.calls().keys() == {"judges/0"}


def test_it_waits_no_longer_than_it_says() -> None:
    play = judged("select: all, quorum: 3")
    assert isinstance(play.last.commands[0], Muster)
    assert play.last.commands[0].least == 3
    play.tell(play.missing("judges"))
    play.later(timedelta(seconds=40))
    play.tell(*[AgentAvailable(capability=each) for each in awaited(play.workflow, play.state)])
    play.tell(play.missing("judges"))
    assert play.status() is ExecutionStatus.RUNNING
    play.later(timedelta(seconds=21))
    assert play.status() is ExecutionStatus.FAILED
    failure = play.state.step("judges").failure
    assert failure is not None
    assert failure.reason is Reason.NO_AGENT


def test_a_crash_calls_the_same_agents_again() -> None:
    play = judged("select: all, quorum: 2", "a", "b", "c")
    play.tell(play.succeeded("judges/1", vote=1.0))
    play.state = state_from_json(json.loads(json.dumps(state_to_json(play.state))))
    tokens = {step.token for step in play.state.steps.values() if step.token}
    flying = calls_in_flight(play.workflow, play.state, play.values)
    assert {each.token for each in flying} == tokens
    play.tell(CallsLost())
    assert {path: (call.agent, call.attempt) for path, call in play.calls().items()} == {
        "judges/0": ("agents/a", 1),
        "judges/2": ("agents/c", 1),
    }
    play.tell(play.succeeded("judges/2", vote=2.0))
    assert play.outputs["judges"] == answers(a=None, b={"vote": 1.0}, c={"vote": 2.0})


def test_a_leg_whose_agent_has_left_fails_and_one_that_may_come_back_waits() -> None:
    play = judged("select: all, quorum: 1", "a", "b")
    play.tell(CallsLost())
    gone, missing = (play.state.step(f"judges/{each}").token for each in range(2))
    play.tell(
        AgentGone(step_id="judges/0", token=gone), AgentMissing(step_id="judges/1", token=missing)
    )
    assert play.state.step("judges/0").status is StepStatus.FAILED
    assert play.state.calls == 2, "those that were lost"
    (ask,) = awaited(play.workflow, play.state)
    assert ask == "t.judge 1 agents/b "
    play.tell(AgentAvailable(capability=ask))
    assert play.calls()["judges/1"].agent == "agents/b"
    play.tell(play.succeeded("judges/1"))
    assert play.status() is ExecutionStatus.SUCCEEDED


def test_cancelling_the_execution_cancels_every_leg() -> None:
    play = judged("select: all", "a", "b")
    play.tell(CancelRequested())
    assert sorted(play.cancels()) == ["judges/0", "judges/1"]
    assert {step.status for step in play.state.steps.values()} == {StepStatus.CANCELLED}


def test_a_budget_bounds_the_legs() -> None:
    text = JUDGES.replace("SELECT", "select: all").replace("MORE", "")
    text = text.replace("steps:", "budget: {calls: 2}\nsteps:", 1)
    play = Play(compiled(text), input={"claim": "x"})
    find(play, "a", "b", "c")
    assert play.status() is ExecutionStatus.FAILED
    assert play.state.failure is not None
    assert play.state.failure.reason is Reason.BUDGET_EXCEEDED
    assert not play.calls()


def test_who_was_found_while_it_was_held_is_called_when_it_goes_on() -> None:
    play = judged("select: all")
    token = play.state.step("judges").token
    found = AgentsFound(step_id="judges", token=token, agents=("agents/a", "agents/b"))
    play.tell(PauseRequested(), found)
    assert not play.calls()
    play.tell(ResumeRequested())
    assert {call.agent for call in play.calls().values()} == {"agents/a", "agents/b"}


def test_its_time_is_that_of_all_its_legs() -> None:
    play = judged("select: all", "a", more="    timeout: {schedule_to_close: 5s}")
    play.later(timedelta(seconds=5))
    assert play.status() is ExecutionStatus.FAILED
    assert play.cancels() == ["judges/0"]


def test_a_catch_follows_when_its_legs_failed() -> None:
    catch = "    catch: [{steps: [{id: instead, call: {capability: t.instead}}]}]"
    play = judged("select: all", "a", "b", more=catch)
    play.tell(play.failed("judges/1", WRONG))
    assert play.cancels() == ["judges/0"]
    assert play.calls().keys() == {"judges/catch/instead"}
    play.tell(play.succeeded("judges/catch/instead", vote="none"))
    assert play.outputs["judges"] == {"vote": "none"}


def test_what_may_be_called_once_is_not_called_again_after_a_crash() -> None:
    play = judged("select: all, quorum: 1", "a", "b", more="    at_most_once: fail")
    play.tell(CallsLost())
    assert not play.calls()
    assert play.status() is ExecutionStatus.FAILED
    failure = play.state.step("judges").failure
    assert failure is not None
    assert failure.reason is Reason.OUTCOME_UNKNOWN


def test_what_is_asked_of_them_is_worked_out_as_anywhere() -> None:
    text = """
    name: nested
    steps:
      - id: topics
        map:
          over: input.topics
          as: topic
          steps:
            - id: look
              call:
                capability: "${topic}.look"
                select: race
                selector: "about=${topic}"
                input: {topic: "${topic}"}
    """
    play = Play(compiled(text), input={"topics": ["tea", "cake"]})
    orders = {each.step_id: each for each in play.last.commands if isinstance(each, Muster)}
    assert (orders["topics/0/look"].capability, orders["topics/0/look"].selector) == (
        "tea.look",
        "about=tea",
    )
    play.tell(play.missing("topics/1/look"))
    assert awaited(play.workflow, play.state) == {"cake.look 1 - about=cake"}
    failed = Play(compiled(text), input={"topics": ["two words"]})
    assert failed.status() is ExecutionStatus.FAILED
    assert "is no selector" in str(failed.state.failure)


def test_legs_run_inside_other_steps() -> None:
    text = """
    name: nested
    steps:
      - id: topics
        map:
          over: input.topics
          as: topic
          steps:
            - id: look
              call: {capability: t.look, select: all, input: {topic: "${topic}"}}
    """
    play = Play(compiled(text), input={"topics": ["tea", "cake"]})
    find(play, "a", "b", step="topics/1/look")
    assert [each.input for each in play.calls().values()] == [{"topic": "cake"}] * 2
    find(play, *(f"a{each}" for each in range(11)), step="topics/0/look")
    for number in range(11):
        play.tell(play.succeeded(f"topics/0/look/{number}", n=float(number)))
    play.tell(play.succeeded("topics/1/look/0"), play.succeeded("topics/1/look/1"))
    assert play.status() is ExecutionStatus.SUCCEEDED
    first, second = cast("list[list[dict[str, Json]]]", play.outputs["topics"])
    assert [each["output"] for each in first] == [{"n": float(number)} for number in range(11)]
    assert len(second) == 2
    assert play.outputs.keys() == {"topics"}


def test_a_failure_says_what_the_leg_was_told() -> None:
    play = judged("select: all", "a", "b")
    own = Failure(
        code="ABORTED",
        reason=Reason.AGENT_FAILED,
        message="no",
        metadata={"agent_reason": "MOOD"},
        retryable=False,
    )
    play.tell(play.failed("judges/0", own))
    failure = play.state.step("judges").failure
    assert failure is not None
    assert "MOOD" in failure.names
