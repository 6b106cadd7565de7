"""Steps that take bids: who is asked, who is called, and who is called instead."""

from __future__ import annotations

from datetime import timedelta

import pytest

from brikk_shared.errors import Reason
from brikk_workflow.domain.decider import calls_in_flight
from brikk_workflow.domain.decision import (
    AgentsFound,
    AskBids,
    Bid,
    BidsReceived,
    CallsLost,
    CancelRequested,
    Decision,
    Muster,
    PauseRequested,
    ResumeRequested,
)
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from support.play import WRONG, Play, compiled

MARKET = """
name: market
steps:
  - id: job
    call:
      capability: t.job
      select: bids
      max_agents: 5
      input: {what: "${input.what}"}
      BIDS
    retry: {max_attempts: 2, initial: 1s, jitter: 0}
    timeout: {schedule_to_close: 1h}
    MORE
output: "${steps.job.output}"
"""


def offered(bids: str = "", more: str = "") -> Play:
    """A step that has asked three agents for bids."""
    text = MARKET.replace("BIDS", f"bids: {{{bids}}}" if bids else "").replace("MORE", more)
    play = Play(compiled(text), input={"what": "paint", "most": 2.0})
    found(play)
    return play


def found(play: Play) -> Decision:
    """Three agents are there."""
    agents = tuple(f"agents/{each}" for each in "abc")
    return play.tell(AgentsFound(step_id="job", token=play.state.step("job").token, agents=agents))


def bid(agent: str, price: float = 0, seconds: float | None = None, confidence: float = 1.0) -> Bid:
    return Bid(
        agent=f"agents/{agent}",
        cost_micros=int(price * 1_000_000),
        seconds=seconds,
        confidence=confidence,
        capacity=0,
    )


def receive(play: Play, *bids: Bid) -> Decision:
    """This is what was bid in time."""
    return play.tell(BidsReceived(step_id="job", token=play.state.step("job").token, bids=bids))


def award(play: Play) -> str:
    """The agent that is called: no more than one at a time."""
    (call,) = play.calls().values()
    return f"{call.step_id} {call.agent}"


def test_all_who_are_there_are_asked_once_it_is_recorded() -> None:
    play = offered()
    (order,) = play.last.commands
    assert isinstance(order, AskBids)
    assert order.agents == ("agents/a", "agents/b", "agents/c")
    assert (order.capability, order.input) == ("t.job", {"what": "paint"})
    assert order.timeout == timedelta(seconds=2)
    assert play.state.calls == 0
    assert calls_in_flight(play.workflow, play.state, play.values) == (order,)


def test_the_cheapest_is_called_and_of_equals_the_faster() -> None:
    play = offered()
    receive(play, bid("a", 3), bid("b", 2), bid("c", 2, seconds=9))
    assert award(play) == "job/0 agents/c"
    assert play.state.calls == 1
    (entry,) = (each for each in play.history if each.type == "step.bids_ranked")
    ranked = entry.attributes["bids"]
    assert isinstance(ranked, list)
    assert [each["agent"] for each in ranked] == ["agents/c", "agents/b", "agents/a"]
    assert ranked[0] == {
        "agent": "agents/c",
        "price": 2.0,
        "seconds": 9,
        "confidence": 1.0,
        "capacity": 0.0,
        "score": -2.0,
    }
    play.tell(play.succeeded("job/0", done=True))
    assert play.status() is ExecutionStatus.SUCCEEDED
    assert play.outputs == {"job": {"done": True}}


def test_a_score_judges_by_whatever_it_reads_and_leaves_out_what_it_cannot_judge() -> None:
    play = offered("timeout: 5s, score: 'bid.seconds > input.most ? -bid.price : bid.confidence'")
    assert isinstance(play.last.commands[0], AskBids)
    assert play.last.commands[0].timeout == timedelta(seconds=5)
    receive(play, bid("a"), bid("b", 1, seconds=3), bid("c", 9, seconds=2, confidence=0.5))
    assert award(play) == "job/0 agents/c"
    progress = play.state.step("job").progress
    assert progress is not None
    assert progress.total == 2


def test_when_no_bid_can_be_judged_it_fails() -> None:
    play = offered("score: 1.0 / bid.price")
    receive(play, bid("a"), bid("b"))
    assert play.status() is ExecutionStatus.FAILED
    assert "not a finite number" in str(play.state.failure)


def test_when_nobody_bids_it_fails() -> None:
    play = offered()
    receive(play)
    failure = play.state.step("job").failure
    assert failure is not None
    assert (failure.reason, failure.message) == (
        Reason.NO_AGENT,
        "No agent bid for t.job within 2s",
    )


def test_the_next_best_is_called_when_the_best_has_failed_for_good() -> None:
    play = offered()
    receive(play, bid("a", 1), bid("b", 2))
    play.tell(play.failed("job/0"))
    assert not play.calls()
    play.later(timedelta(seconds=2))
    assert award(play) == "job/0 agents/a"
    play.tell(play.failed("job/0"))
    assert award(play) == "job/1 agents/b"
    play.tell(play.failed("job/1", WRONG))
    assert play.status() is ExecutionStatus.FAILED
    failure = play.state.step("job").failure
    assert failure is not None
    assert failure.message == "Step job/1 failed: wrong"


def test_a_round_that_a_crash_cut_off_is_held_again() -> None:
    play = offered()
    late = BidsReceived(step_id="job", token=play.state.step("job").token, bids=(bid("a"),))
    play.tell(CallsLost())
    (order,) = play.last.commands
    assert isinstance(order, Muster)
    found(play)
    play.tell(late)
    assert play.types()[-1] == "step.late_result job"
    receive(play, bid("b"))
    assert award(play) == "job/0 agents/b"


def test_an_award_survives_a_crash_and_stays_the_only_one() -> None:
    play = offered()
    receive(play, bid("a", 1), bid("b", 2))
    play.tell(CallsLost())
    assert award(play) == "job/0 agents/a"
    play.tell(play.failed("job/0", WRONG))
    play.tell(CallsLost())
    assert award(play) == "job/1 agents/b"
    play.tell(play.succeeded("job/1"))
    assert play.status() is ExecutionStatus.SUCCEEDED


def test_what_may_be_done_once_is_given_to_nobody_else_while_that_is_in_doubt() -> None:
    text = MARKET.replace("BIDS", "").replace("timeout: {schedule_to_close: 1h}", "")
    play = Play(compiled(text.replace("MORE", "at_most_once: fail")), input={"what": "x"})
    found(play)
    play.tell(CallsLost())  # nobody was called yet
    found(play)
    receive(play, bid("a", 1), bid("b", 2))
    play.tell(CallsLost())
    assert play.status() is ExecutionStatus.FAILED
    failure = play.state.step("job").failure
    assert failure is not None
    assert failure.reason is Reason.OUTCOME_UNKNOWN


@pytest.mark.parametrize("asked", [False, True])
def test_a_pause_puts_the_award_off(asked: bool) -> None:
    play = offered()
    if asked:
        play.tell(PauseRequested())
        receive(play, bid("a"))
    else:
        play.tell(CallsLost())
        token = play.state.step("job").token
        agents = AgentsFound(step_id="job", token=token, agents=("agents/a",))
        play.tell(PauseRequested(), agents)
    assert not play.last.commands
    play.tell(ResumeRequested())
    if not asked:
        found(play)
        receive(play, bid("a"))
    assert award(play) == "job/0 agents/a"


def test_cancelling_ends_the_round() -> None:
    play = offered()
    play.tell(CancelRequested())
    assert play.cancels() == ["job"]
    assert play.state.step("job").status is StepStatus.CANCELLED


def test_a_round_that_takes_too_long_fails_the_step() -> None:
    play = offered(more="at_most_once: fail")
    play.later(timedelta(hours=1))
    failure = play.state.step("job").failure
    assert failure is not None
    assert failure.reason is Reason.STEP_TIMEOUT
