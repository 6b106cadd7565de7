"""What holds for every workflow, whatever happens to it in whichever order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from brikk_shared.errors import Reason
from brikk_workflow.domain.compiled import CompiledWorkflow, compile_workflow
from brikk_workflow.domain.decider import calls_in_flight, decide, start
from brikk_workflow.domain.decision import (
    AgentAvailable,
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    CancelRequested,
    Decision,
    Event,
    HistoryEntry,
    TimerFired,
    Values,
)
from brikk_workflow.domain.definition import (
    CallStep,
    RetryPolicy,
    Step,
    StepTimeout,
    WorkflowDefinition,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import (
    ExecutionState,
    ExecutionStatus,
    StepStatus,
    next_wake,
    state_from_json,
    state_to_json,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESOLUTIONS = {
    "step.succeeded",
    "step.attempt_failed",
    "step.attempt_lost",
    "step.waiting",
    "step.failed",
    "step.cancelled",
}


@st.composite
def workflows(draw: st.DrawFn) -> CompiledWorkflow:
    """Any small acyclic graph, with conditions, retries and timeouts."""
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 7))):
        above = [step.id for step in steps]
        after = draw(st.lists(st.sampled_from(above), unique=True)) if above else []
        reads = [f"steps.{each}.output" for each in after]
        steps.append(
            Step(
                id=f"s{number}",
                after=tuple(after),
                when=draw(st.sampled_from(["", "", "input.yes", "input.no"])),
                call=CallStep(
                    capability=draw(st.sampled_from(["c.one", "c.two"])),
                    input={read: f"${{{read}}}" for read in reads},
                ),
                retry=RetryPolicy(max_attempts=draw(st.integers(1, 3))),
                timeout=StepTimeout(
                    schedule_to_close=draw(st.sampled_from([None, timedelta(seconds=20)]))
                ),
            )
        )
    definition = WorkflowDefinition(id="any", steps=tuple(steps), timeout=timedelta(minutes=5))
    return compile_workflow(definition, version=1)


class World:
    """The rest of the engine, which keeps every promise and no order."""

    def __init__(self, workflow: CompiledWorkflow, draw: st.DataObject) -> None:
        self.workflow = workflow
        self.draw = draw.draw
        self.now = NOW
        self.outputs: dict[str, Json] = {}
        self.history: list[HistoryEntry] = []
        self.ordered: dict[str, Call] = {}
        self.told: list[Event] = []
        decision = start(workflow, values=self.values, now=self.now, random=self.random)
        self.take(None, decision)

    @property
    def values(self) -> Values:
        given_input: dict[str, Json] = {"yes": True, "no": False}
        return Values(execution="e", input=given_input, outputs=dict(self.outputs))

    def random(self) -> float:
        return self.draw(st.floats(0, 1, exclude_max=True))

    def event(self) -> Event:
        """Something that may happen now: also late, also again, also to nobody."""
        kind = self.draw(st.sampled_from(["answer", "answer", "answer", "again", "time", "other"]))
        if kind == "answer" and self.ordered:
            call = self.ordered[self.draw(st.sampled_from(sorted(self.ordered)))]
            return self.answer(
                call, self.draw(st.sampled_from(["ok", "ok", "busy", "bad", "gone"]))
            )
        if kind == "again" and self.told:
            return self.draw(st.sampled_from(self.told))
        if kind == "other":
            capability = self.draw(st.sampled_from(["c.one", "c.two"]))
            others: list[Event] = [
                AgentAvailable(capability=capability),
                CallsLost(),
                AgentMissing(step_id="nobody", token="t"),
            ]
            return self.draw(st.sampled_from(others))
        return TimerFired()

    def answer(self, call: Call, kind: str) -> Event:
        agent, latency = "agents/x", timedelta(milliseconds=1)
        if kind == "ok":
            output: dict[str, Json] = {"of": call.token}
            return AttemptSucceeded(
                step_id=call.step_id, token=call.token, agent=agent, latency=latency, output=output
            )
        if kind == "gone":
            return AgentMissing(step_id=call.step_id, token=call.token)
        failure = Failure(
            code="UNAVAILABLE", reason=Reason.AGENT_FAILED, message=kind, retryable=kind == "busy"
        )
        return AttemptFailed(
            step_id=call.step_id, token=call.token, agent=agent, latency=latency, failure=failure
        )

    def tell(self, events: Sequence[Event]) -> None:
        before, values = self.state, self.values
        fractions = [self.random() for _ in range(20)]
        decision = decide(
            self.workflow,
            before,
            events,
            values=values,
            now=self.now,
            random=iter(fractions).__next__,
        )
        self.check_one_by_one(before, events, values, fractions, decision)
        self.told += events
        self.take(before, decision)

    def check_one_by_one(
        self,
        before: ExecutionState,
        events: Sequence[Event],
        values: Values,
        fractions: Sequence[float],
        together: Decision,
    ) -> None:
        """Folding events at once comes to the same as folding one after another."""
        rest = iter(fractions)
        history: list[HistoryEntry] = []
        outputs = dict(values.outputs)
        state = before
        for event in events:
            decision = decide(
                self.workflow,
                state,
                [event],
                values=Values(execution="e", input=values.input, outputs=outputs),
                now=self.now,
                random=rest.__next__,
            )
            state = decision.state
            history += decision.history
            outputs |= decision.outputs
        assert state == together.state
        assert tuple(history) == together.history
        assert outputs == {**values.outputs, **together.outputs}

    def take(self, before: ExecutionState | None, decision: Decision) -> None:
        self.state = state = decision.state
        assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state
        if before is not None and before.status.terminal:
            assert decision == Decision(state=before)
        assert decision.outputs.keys().isdisjoint(self.outputs), "accepted twice"
        self.outputs |= decision.outputs
        self.history += decision.history
        assert [entry.sequence for entry in self.history] == list(range(1, state.sequence + 1))
        announced = [each.sequence for each in decision.announcements]
        assert announced == sorted(set(announced))
        for command in decision.commands:
            if isinstance(command, Call):
                assert command.token not in self.ordered, "ordered twice"
                assert state.step(command.step_id).token == command.token
                self.ordered[command.token] = command
        running = {step_id: step for step_id, step in state.steps.items() if step.token}
        assert all(step.status is StepStatus.RUNNING for step in running.values())
        assert {step.token for step in running.values()} <= self.ordered.keys()
        if not state.status.terminal:
            flying = calls_in_flight(self.workflow, state, self.values)
            assert {each.token for each in flying} == {step.token for step in running.values()}
            assert next_wake(state) is not None

    def check_history(self) -> None:
        """Read the history as its reader does: nothing out of turn, nothing left open."""
        flying: set[str] = set()
        done: set[str] = set()
        ended = False
        for entry in self.history:
            assert not ended, "something after the end"
            if entry.type in ("step.attempt_started", "step.skipped"):
                waits_for = set(self.workflow.steps[entry.step_id].step.after)
                assert waits_for <= done, "began before what it waits for"
                assert entry.step_id not in flying | done
            if entry.type == "step.attempt_started":
                flying.add(entry.step_id)
            if entry.type in RESOLUTIONS:
                flying.discard(entry.step_id)
            if entry.type in ("step.succeeded", "step.skipped"):
                done.add(entry.step_id)
            if entry.type == "execution.succeeded":
                assert done == self.workflow.steps.keys()
            ended = entry.type in ("execution.succeeded", "execution.failed", "execution.cancelled")
        assert ended == self.state.status.terminal
        if ended:
            assert not flying, "a call nobody has heard of the end of"


@settings(max_examples=200, deadline=None)
@given(workflow=workflows(), data=st.data())
def test_any_order_of_events(workflow: CompiledWorkflow, data: st.DataObject) -> None:
    world = World(workflow, data)
    for _ in range(data.draw(st.integers(0, 25))):
        wake = next_wake(world.state)
        if wake is not None and data.draw(st.booleans()):
            world.now = max(world.now, wake)
        if data.draw(st.integers(0, 40)) == 0:
            world.tell([CancelRequested()])
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
@given(workflow=workflows(), data=st.data())
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
