"""An execution in memory: it is told what happens, and remembers what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from brikk_shared.errors import Reason
from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import decide, start
from brikk_workflow.domain.decision import (
    AgentMissing,
    AttemptFailed,
    AttemptSucceeded,
    Call,
    CancelCall,
    Decision,
    Event,
    HistoryEntry,
    TimerFired,
    Values,
)
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.source import read_yaml
from brikk_workflow.domain.state import ExecutionState, ExecutionStatus, Inherited
from brikk_workflow.domain.usage import NO_USAGE, Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUSY = Failure(code="UNAVAILABLE", reason=Reason.AGENT_FAILED, message="busy")
WRONG = Failure(code="INVALID_ARGUMENT", reason=Reason.AGENT_FAILED, message="wrong")

CHAIN = """
name: chain
steps:
  - id: a
    call: {capability: t.a, input: {text: "${input.text}"}}
  - id: b
    call: {capability: t.b, input: {text: "${steps.a.output.text}!"}}
output: {text: "${steps.b.output.text}"}
"""

JOIN = """
name: join
steps:
  - {id: a, call: {capability: t.a}}
  - {id: b, after: [], call: {capability: t.b}}
  - {id: c, after: [a, b], call: {capability: t.c}}
"""


def compiled(text: str) -> CompiledWorkflow:
    workflow = read_yaml(text)
    assert isinstance(workflow, CompiledWorkflow), workflow
    return workflow


@dataclass
class Play:
    """An execution that is told what happens, and remembers what was decided."""

    workflow: CompiledWorkflow
    input: Mapping[str, Json] = field(default_factory=dict)
    now: datetime = NOW
    queued: bool = False
    inherited: Inherited | None = None
    outputs: dict[str, Json] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    announced: list[tuple[str, Mapping[str, Json]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.take(
            start(
                self.workflow,
                values=self.values,
                now=self.now,
                random=lambda: 0.5,
                queued=self.queued,
                inherited=self.inherited,
            )
        )

    @property
    def values(self) -> Values:
        return Values(execution="e1", input=self.input, outputs=dict(self.outputs))

    def take(self, decision: Decision) -> Decision:
        self.last = decision
        self.state: ExecutionState = decision.state
        self.outputs |= decision.outputs
        for path in decision.dropped:
            del self.outputs[path]
        self.history += decision.history
        self.announced += [(each.type, each.data) for each in decision.announcements]
        return decision

    def tell(self, *events: Event) -> Decision:
        return self.take(
            decide(
                self.workflow,
                self.state,
                events,
                values=self.values,
                now=self.now,
                random=lambda: 0.5,
            )
        )

    def later(self, delay: timedelta) -> Decision:
        self.now += delay
        return self.tell(TimerFired())

    def succeeded(self, step: str, *, usage: Usage = NO_USAGE, **output: Json) -> AttemptSucceeded:
        return AttemptSucceeded(
            step_id=step,
            token=self.state.step(step).token,
            agent=f"agents/{step}",
            latency=timedelta(milliseconds=7),
            output=output,
            usage=usage,
        )

    def failed(self, step: str, failure: Failure = BUSY, usage: Usage = NO_USAGE) -> AttemptFailed:
        return AttemptFailed(
            step_id=step,
            token=self.state.step(step).token,
            agent=f"agents/{step}",
            latency=timedelta(milliseconds=7),
            failure=failure,
            usage=usage,
        )

    def missing(self, step: str) -> AgentMissing:
        return AgentMissing(step_id=step, token=self.state.step(step).token)

    def calls(self) -> dict[str, Call]:
        return {each.step_id: each for each in self.last.commands if isinstance(each, Call)}

    def cancels(self) -> list[str]:
        return [each.step_id for each in self.last.commands if isinstance(each, CancelCall)]

    def status(self) -> ExecutionStatus:
        return self.state.status

    def types(self) -> list[str]:
        return [f"{each.type} {each.step_id}".strip() for each in self.history]
