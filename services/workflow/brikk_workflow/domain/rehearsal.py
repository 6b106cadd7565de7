"""Trying a workflow out: the engine's core with canned answers and a clock that jumps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from brikk_workflow.domain.canned import Canned
from brikk_workflow.domain.compiled import CompiledSignal, CompiledWorkflow
from brikk_workflow.domain.decider import decide, start
from brikk_workflow.domain.decision import (
    AgentsFound,
    AskBids,
    AttemptFailed,
    AttemptSucceeded,
    BidsReceived,
    Call,
    CancelCall,
    Continue,
    Decision,
    Event,
    HistoryEntry,
    Muster,
    SignalReceived,
    StartChild,
    TimerFired,
    Values,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import StepStatus, next_wake

MAX_STEPS = 1000
"""Most steps that are told of; a loop can run a hundred thousand."""
MAX_INPUTS = 100
"""Most of them with what they were given, which may be a megabyte each."""

_AGENT = "agents/canned"
_LATENCY = timedelta(milliseconds=1)
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_BECOMES = {
    "started": StepStatus.RUNNING,
    "attempt_started": StepStatus.RUNNING,
    "caught": StepStatus.RUNNING,
    "attempt_failed": StepStatus.BACKING_OFF,
    "succeeded": StepStatus.SUCCEEDED,
    "failed": StepStatus.FAILED,
    "skipped": StepStatus.SKIPPED,
    "cancelled": StepStatus.CANCELLED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """What a step did, by its path; `problem` is what it, or its last attempt, failed with."""

    path: str
    status: StepStatus
    attempts: int = 0
    input: Mapping[str, Json] | None = None
    output: Json = None
    problem: str = ""


class Rehearsal:
    """A run of a workflow that calls nobody; `steps` are the first that ran, as they began.

    Each `advance` is one decision, as short as those of a real run.
    """

    def __init__(
        self, workflow: CompiledWorkflow, given: Mapping[str, Json], canned: Canned
    ) -> None:
        self._workflow = workflow
        self._input = given
        self._canned = canned
        self._now = _BEGINNING
        self._outputs: dict[str, Json] = {}
        self._calls: dict[str, Call | Muster | AskBids | StartChild] = {}
        self._turns: dict[str, int] = {}
        self._inputs = 0
        self._unfinished = False
        self.steps: dict[str, Rehearsed] = {}
        self.output: Json = None
        begun = start(workflow, values=self._values(), now=self._now, random=_middle)
        self.state = begun.state
        self._take(begun)

    def advance(self) -> bool:
        """Let the next thing happen; return False when the run has ended."""
        if self.state.status.terminal:
            return False
        event = self._next()
        decided = decide(
            self._workflow,
            self.state,
            [event],
            values=self._values(),
            now=self._now,
            random=_middle,
        )
        self._take(decided)
        return not self.state.status.terminal

    def _next(self) -> Event:
        if self._calls:
            return self._answer(self._calls.pop(next(iter(self._calls))))
        if self._unfinished:
            return Continue()
        for path, step in self.state.steps.items():
            work = self._workflow.at(path).work
            if (
                step.status is StepStatus.WAITING
                and isinstance(work, CompiledSignal)
                and work.kind.name in self._canned.signals
            ):
                name = work.kind.name
                return SignalReceived(name=name, data=self._canned.signals[name])
        self._now = max(self._now, next_wake(self.state) or self._now)
        return TimerFired()

    def _answer(self, call: Call | Muster | AskBids | StartChild) -> Event:
        compiled = self._workflow.at(call.step_id)
        place = compiled.step.id or compiled.body.owner
        if isinstance(call, Muster):
            live = self._canned.agents(call.step_id, place, call.capability)
            count = min(call.most, max(call.least, live))
            agents = tuple(f"{_AGENT}-{number}" for number in range(count))
            return AgentsFound(step_id=call.step_id, token=call.token, agents=agents)
        if isinstance(call, AskBids):
            bids = self._canned.bid(call.step_id, place, call.capability, call.agents)
            return BidsReceived(step_id=call.step_id, token=call.token, bids=bids)
        turn = self._turns.get(place, 0)
        self._turns[place] = turn + 1
        name = call.capability if isinstance(call, Call) else call.workflow
        agent = (call.agent if isinstance(call, Call) else "") or _AGENT
        answer = self._canned.answer(call.step_id, place, name, turn)
        if isinstance(answer, Failure):
            return AttemptFailed(
                step_id=call.step_id,
                token=call.token,
                agent=agent,
                latency=_LATENCY,
                failure=answer,
            )
        if call.step_id in self.steps:
            self.steps[call.step_id] = replace(self.steps[call.step_id], output=answer)
        return AttemptSucceeded(
            step_id=call.step_id, token=call.token, agent=agent, latency=_LATENCY, output=answer
        )

    def _take(self, decision: Decision) -> None:
        self.state, self._unfinished = decision.state, decision.unfinished
        self.output = decision.output
        self._outputs.update(decision.outputs)
        for path in decision.dropped:
            del self._outputs[path]
        for entry in decision.history:
            if entry.step_id:
                self._note(entry)
        for command in decision.commands:
            if isinstance(command, CancelCall):
                self._calls.pop(command.token, None)
            else:
                self._calls[command.token] = command
                if not isinstance(command, Muster):
                    self._keep_input(command.step_id, command.input)
        for path in decision.outputs.keys() & self.steps.keys():
            self.steps[path] = replace(self.steps[path], output=decision.outputs[path])

    def _keep_input(self, path: str, given: Mapping[str, Json]) -> None:
        step = self.steps.get(path)
        if step is None or (step.input is None and self._inputs == MAX_INPUTS):
            return
        self._inputs += step.input is None
        self.steps[path] = replace(step, input=given)

    def _note(self, entry: HistoryEntry) -> None:
        kind = entry.type.removeprefix("step.")
        path = entry.step_id
        if kind not in _BECOMES or (path not in self.steps and len(self.steps) == MAX_STEPS):
            return
        step = self.steps.get(path) or Rehearsed(path=path, status=StepStatus.PENDING)
        failed = kind in ("failed", "attempt_failed", "caught")
        self.steps[path] = replace(
            step,
            status=_BECOMES[kind],
            attempts=step.attempts + (kind == "attempt_started"),
            problem=str(entry.attributes.get("message", "")) if failed else "",
        )

    def _values(self) -> Values:
        return Values(execution="test", input=self._input, outputs=self._outputs)


def _middle() -> float:
    return 0.5
