"""What a retry takes over from the execution in whose place it is started."""

from __future__ import annotations

from datetime import timedelta

from brikk_workflow.domain.adoption import unfit
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import adopt
from brikk_workflow.domain.decision import (
    Admitted,
    Call,
    Decision,
    SkipRequested,
    TerminateRequested,
    Values,
)
from brikk_workflow.domain.state import ExecutionStatus, StepStatus
from support.play import CHAIN, JOIN, NOW, WRONG, Play, compiled

LATER = NOW + timedelta(hours=1)


def retried(
    play: Play, workflow: CompiledWorkflow, *, from_step: str = "", queued: bool = False
) -> Decision:
    return adopt(
        workflow,
        retry_of="e1",
        definition=play.workflow.definition,
        state=play.state,
        from_step=from_step,
        values=Values(execution="e2", input=play.input, outputs=play.outputs),
        now=LATER,
        random=lambda: 0.5,
        queued=queued,
    )


def called(decision: Decision) -> set[str]:
    return {each.step_id for each in decision.commands if isinstance(each, Call)}


def failed_chain() -> Play:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.succeeded("a", text="HI"))
    play.tell(play.failed("b", WRONG))
    return play


def test_what_was_done_is_not_done_again() -> None:
    play = failed_chain()
    decision = retried(play, play.workflow)
    assert called(decision) == {"b"}
    (call,) = decision.commands
    assert isinstance(call, Call)
    assert call.input == {"text": "HI!"}
    assert decision.outputs == {"a": {"text": "HI"}}
    assert decision.state.step("a") == play.state.step("a")
    assert [(each.type, each.step_id) for each in decision.history] == [
        ("execution.started", ""),
        ("step.adopted", "a"),
        ("step.attempt_started", "b"),
    ]
    assert decision.history[0].attributes["retry_of"] == "executions/e1"
    assert [each.type for each in decision.announcements] == ["execution.started"]
    assert decision.state.deadline == LATER + timedelta(days=1)
    assert decision.state.calls == 1


def test_what_is_defined_differently_now_is_done_again_and_so_is_what_follows_it() -> None:
    play = Play(compiled(JOIN))
    play.tell(play.succeeded("a"), play.succeeded("b"))
    play.tell(play.failed("c", WRONG))
    newer = compiled(JOIN.replace("t.a", "t.other"))
    decision = retried(play, newer)
    assert called(decision) == {"a"}
    assert decision.outputs.keys() == {"b"}

    play = failed_chain()
    newer = compiled(CHAIN.replace("input.text", "input.other"))
    assert retried(Play(newer, {"other": "x"}), newer).outputs == {}
    play.input = {"text": "hi", "other": "x"}
    decision = retried(play, newer)
    assert called(decision) == {"a"}
    assert decision.outputs == {}


def test_steps_that_are_gone_or_new_do_not_matter() -> None:
    play = failed_chain()
    newer = compiled(CHAIN.replace("id: b", "id: c").replace("steps.b", "steps.c"))
    assert called(retried(play, newer)) == {"c"}


def test_a_skipped_step_is_adopted_without_an_output() -> None:
    skipping = compiled(
        """
name: skipping
steps:
  - {id: a, when: "false", call: {capability: t.a}}
  - {id: b, call: {capability: t.b, input: {a: "${steps.a.output}"}}}
"""
    )
    play = Play(skipping)
    play.tell(TerminateRequested())
    decision = retried(play, skipping)
    assert decision.state.step("a").status is StepStatus.SKIPPED
    assert decision.outputs == {}
    (call,) = decision.commands
    assert isinstance(call, Call)
    assert call.input == {"a": None}


def test_when_everything_was_done_only_the_output_is_made() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.succeeded("a", text="HI"))
    play.tell(play.succeeded("b"))
    assert play.state.status is ExecutionStatus.FAILED
    newer = compiled(CHAIN.replace('output: {text: "${steps.b.output.text}"}', "output: done"))
    decision = retried(play, newer)
    assert decision.state.status is ExecutionStatus.SUCCEEDED
    assert decision.output == "done"
    assert decision.outputs.keys() == {"a", "b"}


def test_a_retry_may_have_to_wait_for_a_place() -> None:
    play = failed_chain()
    decision = retried(play, play.workflow, queued=True)
    assert decision.state.status is ExecutionStatus.QUEUED
    assert decision.outputs == {"a": {"text": "HI"}}
    play.take(decision)
    play.tell(Admitted())
    assert play.calls().keys() == {"b"}


def test_from_a_step_on_everything_is_done_again_and_what_was_before_it_is_kept() -> None:
    play = Play(compiled(JOIN))
    for step in ("a", "b", "c"):
        play.tell(play.succeeded(step))
    assert play.status() is ExecutionStatus.SUCCEEDED
    decision = retried(play, play.workflow, from_step="b")
    assert called(decision) == {"b"}
    assert set(decision.state.steps) == {"a", "b"}
    assert decision.history[0].attributes["from_step"] == "b"


def test_the_output_that_was_given_for_a_skipped_step_is_kept() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(SkipRequested(step_id="a", output={"text": "HE"}))
    play.tell(play.failed("b", WRONG))
    decision = retried(play, play.workflow)
    (call,) = decision.commands
    assert isinstance(call, Call)
    assert call.input == {"text": "HE!"}
    assert decision.outputs == {"a": {"text": "HE"}}


def test_an_execution_goes_on_by_a_definition_that_has_what_was_done_as_it_was() -> None:
    play = Play(compiled(CHAIN), {"text": "hi"})
    play.tell(play.succeeded("a", text="HI"))

    def fits(text: str) -> str:
        return unfit(compiled(text).definition, play.workflow.definition, play.state)

    assert fits(CHAIN) == fits(CHAIN.replace("t.b", "t.other")) == ""
    assert fits(CHAIN.replace("t.a", "t.other")) == "a"
    assert fits(CHAIN.replace("id: b", "id: c").replace("steps.b", "steps.c")) == "b"
