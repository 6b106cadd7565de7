"""The decider in any order of events, checked against what must hold whatever happens."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from brikk_shared.errors import Reason
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import calls_in_flight, decide, start
from brikk_workflow.domain.decision import (
    Admitted,
    AgentAvailable,
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CallsLost,
    Decision,
    Event,
    HistoryEntry,
    PauseRequested,
    ResumeRequested,
    SkipRequested,
    Suspended,
    TimerFired,
    Values,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, StepStatus, next_wake
from brikk_workflow.domain.state_json import state_from_json, state_to_json
from brikk_workflow.domain.usage import Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESOLUTIONS = {
    "step.succeeded",
    "step.attempt_failed",
    "step.attempt_lost",
    "step.waiting",
    "step.failed",
    "step.cancelled",
    "step.skipped",
}
HOLDS: list[Event] = [
    PauseRequested(),
    ResumeRequested(),
    ResumeRequested(),
    Admitted(),
    Suspended(failure=Failure(code="INTERNAL", reason=Reason.INTERNAL, message="a defect")),
]


class World:
    """The rest of the engine, which keeps every promise and no order."""

    def __init__(
        self,
        workflow: CompiledWorkflow,
        draw: st.DataObject,
        begun: Decision | None = None,
        *,
        queued: bool = False,
    ) -> None:
        self.workflow = workflow
        self.draw = draw.draw
        self.now = NOW
        self.outputs: dict[str, Json] = {}
        self.history: list[HistoryEntry] = []
        self.ordered: dict[str, Call] = {}
        self.told: list[Event] = []
        begun = begun or start(
            workflow, values=self.values, now=self.now, random=self.random, queued=queued
        )
        self.take(None, begun)

    @property
    def values(self) -> Values:
        given_input: dict[str, Json] = {"yes": True, "no": False}
        return Values(execution="e", input=given_input, outputs=dict(self.outputs))

    def random(self) -> float:
        return self.draw(st.floats(0, 1, exclude_max=True))

    def fractions(self, drawn: list[float]) -> Iterator[float]:
        """What was drawn before, then what is drawn now: each costs more than to decide does."""
        for place in itertools.count():
            if place == len(drawn):
                drawn.append(self.random())
            yield drawn[place]

    def event(self) -> Event:
        """Something that may happen now: also late, also again, also to nobody."""
        kinds = ["answer", "answer", "answer", "again", "time", "other", "hold", "hold", "skip"]
        kind = self.draw(st.sampled_from(kinds))
        if kind == "answer" and self.ordered:
            call = self.ordered[self.draw(st.sampled_from(sorted(self.ordered)))]
            return self.answer(
                call, self.draw(st.sampled_from(["ok", "ok", "busy", "bad", "gone", "silent"]))
            )
        if kind == "again" and self.told:
            return self.draw(st.sampled_from(self.told))
        if kind == "hold":
            return self.draw(st.sampled_from(HOLDS))
        if kind == "skip":
            step_id = self.draw(st.sampled_from([*sorted(self.workflow.steps), "nobody"]))
            given: dict[str, Json] = {"of": "hand"}
            output = given if self.draw(st.booleans()) else None
            return SkipRequested(step_id=step_id, output=output, by="users/x")
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
        usage = Usage(tokens=3, cost_micros=3)
        if kind == "ok":
            output: dict[str, Json] = {"of": call.token}
            return AttemptSucceeded(
                step_id=call.step_id,
                token=call.token,
                agent=agent,
                latency=latency,
                output=output,
                usage=usage,
            )
        if kind == "gone":
            return AgentMissing(step_id=call.step_id, token=call.token)
        failure = Failure(
            code="UNAVAILABLE",
            reason=Reason.AGENT_UNAVAILABLE if kind == "silent" else Reason.AGENT_FAILED,
            message=kind,
            retryable=kind != "bad",
        )
        return AttemptFailed(
            step_id=call.step_id,
            token=call.token,
            agent=agent,
            latency=latency,
            failure=failure,
            usage=usage,
        )

    def tell(self, events: Sequence[Event]) -> None:
        before, values = self.state, self.values
        fractions: list[float] = []
        decision = decide(
            self.workflow,
            before,
            events,
            values=values,
            now=self.now,
            random=self.fractions(fractions).__next__,
        )
        if CallsLost() not in events[1:]:  # what was ordered in the same breath is not lost
            self.check_one_by_one(before, events, values, fractions, decision)
        self.told += events
        self.take(before, decision)

    def check_one_by_one(
        self,
        before: ExecutionState,
        events: Sequence[Event],
        values: Values,
        fractions: list[float],
        together: Decision,
    ) -> None:
        """Folding events at once comes to the same as folding one after another."""
        rest = self.fractions(fractions)
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
            self.check_calls(state, event, decision)
            state = decision.state
            history += decision.history
            outputs |= decision.outputs
        assert state == together.state
        assert tuple(history) == together.history
        assert outputs == {**values.outputs, **together.outputs}

    def check_calls(self, before: ExecutionState, event: Event, decision: Decision) -> None:
        """Nothing is called by what stands still, nor when a budget is used up."""
        if not any(isinstance(each, Call) for each in decision.commands):
            return
        if before.status is not ExecutionStatus.RUNNING:
            assert isinstance(event, ResumeRequested | Admitted)
        state, budget = decision.state, self.workflow.definition.budget
        assert state.calls <= (budget.calls or state.calls)
        assert state.usage.tokens < (budget.tokens or state.usage.tokens + 1)
        assert state.usage.cost_micros < (budget.cost_micros or state.usage.cost_micros + 1)

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
            stands = state.status is ExecutionStatus.QUARANTINED
            assert (next_wake(state) is None) == stands
            unknown = {step.status for step in state.steps.values()} & {StepStatus.UNKNOWN}
            assert stands or not unknown, "a step that nobody will look after"
        held = state.status in (ExecutionStatus.PAUSED, ExecutionStatus.QUARANTINED)
        assert (state.held_at is not None) == held

    def check_history(self) -> None:
        """Read the history as its reader does: nothing out of turn, nothing left open."""
        flying: set[str] = set()
        done: set[str] = set()
        unknown: set[str] = set()
        status, admitted = ExecutionStatus.RUNNING, True
        for entry in self.history:
            assert not status.terminal, "something after the end"
            match entry.type.partition("."):
                case ("execution", _, "started"):
                    pass
                case ("execution", _, "admitted"):
                    assert not admitted
                    admitted = True
                    if status is ExecutionStatus.QUEUED:
                        status = ExecutionStatus.RUNNING
                case ("execution", _, "resumed"):
                    status = ExecutionStatus.RUNNING if admitted else ExecutionStatus.QUEUED
                    unknown.clear()
                case ("execution", _, word):
                    status = ExecutionStatus(word)
                    admitted &= status is not ExecutionStatus.QUEUED
                case ("step", _, "attempt_started"):
                    assert status is ExecutionStatus.RUNNING, "called while it stood still"
                    assert entry.step_id not in unknown, "called again with the outcome unknown"
                case ("step", _, "attempt_lost"):
                    if self.workflow.steps[entry.step_id].step.at_most_once:
                        unknown.add(entry.step_id)
            if entry.type in ("step.attempt_started", "step.skipped"):
                waits_for = set(self.workflow.steps[entry.step_id].step.after)
                assert waits_for <= done, "began before what it waits for"
                asked = entry.type == "step.skipped" and entry.attributes
                assert entry.step_id not in (done if asked else flying | done)
            if entry.type == "step.attempt_started":
                flying.add(entry.step_id)
            if entry.type in RESOLUTIONS:
                flying.discard(entry.step_id)
            if entry.type in ("step.succeeded", "step.skipped", "step.adopted"):
                done.add(entry.step_id)
            if entry.type == "execution.succeeded":
                assert done == self.workflow.steps.keys()
        assert status is self.state.status
        if status.terminal:
            assert not flying, "a call nobody has heard of the end of"
