"""What holds for every workflow, whatever happens to it in whichever order."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import adopt
from brikk_workflow.domain.decision import (
    Admitted,
    CancelRequested,
    Event,
    ResumeRequested,
    TerminateRequested,
    TimerFired,
)
from brikk_workflow.domain.state import ExecutionStatus, StepStatus, next_wake
from support.any_workflow import workflows
from support.decider_world import World


@settings(max_examples=200, deadline=None)
@given(workflow=workflows(), data=st.data())
def test_any_order_of_events(workflow: CompiledWorkflow, data: st.DataObject) -> None:
    world = World(workflow, data, queued=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(0, 25))):
        wake = next_wake(world.state)
        if wake is not None and data.draw(st.booleans()):
            world.now = max(world.now, wake)
        else:
            world.now += timedelta(seconds=data.draw(st.sampled_from([0, 0, 1, 30])))
        if data.draw(st.integers(0, 40)) == 0:
            wishes: list[Event] = [CancelRequested(), TerminateRequested()]
            world.tell([data.draw(st.sampled_from(wishes))])
        world.tell([world.event() for _ in range(data.draw(st.integers(1, 4)))])
        world.check_history()


@settings(max_examples=100, deadline=None)
@given(workflow=workflows(), data=st.data())
def test_whatever_happened_an_execution_ends(
    workflow: CompiledWorkflow, data: st.DataObject
) -> None:
    world = World(workflow, data)
    for _ in range(data.draw(st.integers(0, 10))):
        world.tell([world.event()])
    for _ in range(200):
        if world.state.status.terminal:
            break
        if world.state.status is not ExecutionStatus.RUNNING:
            world.tell([ResumeRequested(), Admitted()])
            continue
        running = [step.token for step in world.state.steps.values() if step.token]
        if running:
            world.tell([world.answer(world.ordered[token], "ok") for token in running])
        else:
            wake = next_wake(world.state)
            assert wake is not None
            assert wake > world.now, "due and not handled"
            world.now = wake
            world.tell([TimerFired()])
    assert world.state.status.terminal
    world.check_history()


@settings(max_examples=50, deadline=None)
@given(workflow=workflows(bounded=False), data=st.data())
def test_without_failures_every_step_is_done(
    workflow: CompiledWorkflow, data: st.DataObject
) -> None:
    world = World(workflow, data)
    while not world.state.status.terminal:
        running = sorted(step.token for step in world.state.steps.values() if step.token)
        token = data.draw(st.sampled_from(running))
        world.tell([world.answer(world.ordered[token], "ok")])
    assert world.state.status is ExecutionStatus.SUCCEEDED
    assert len(world.ordered) == len(world.outputs)
    for step_id, step in world.state.steps.items():
        wanted = workflow.steps[step_id].step.when != "input.no"
        assert step.status is (StepStatus.SUCCEEDED if wanted else StepStatus.SKIPPED)


@settings(max_examples=50, deadline=None)
@given(workflow=workflows(bounded=False), data=st.data())
def test_a_retry_does_the_rest_and_nothing_again(
    workflow: CompiledWorkflow, data: st.DataObject
) -> None:
    world = World(workflow, data)
    for _ in range(data.draw(st.integers(0, 5))):
        running = sorted(step.token for step in world.state.steps.values() if step.token)
        if running:
            token = data.draw(st.sampled_from(running))
            world.tell([world.answer(world.ordered[token], "ok")])
    world.tell([TerminateRequested()])
    if world.state.status is ExecutionStatus.SUCCEEDED:
        return
    done = {step_id for step_id, step in world.state.steps.items() if step.status.done}
    decision = adopt(
        workflow,
        retry_of="e",
        definition=workflow.definition,
        state=world.state,
        values=world.values,
        now=world.now,
        random=world.random,
    )
    again = World(workflow, data, decision)
    assert decision.outputs == world.outputs
    while not again.state.status.terminal:
        running = sorted(step.token for step in again.state.steps.values() if step.token)
        again.tell([again.answer(again.ordered[token], "ok") for token in running])
    again.check_history()
    assert again.state.status is ExecutionStatus.SUCCEEDED
    assert done.isdisjoint(call.step_id for call in again.ordered.values())
