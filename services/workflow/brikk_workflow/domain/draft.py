"""A decision in the making, which the rules of the rooms beside it change."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decision import Call, CancelCall, Decision, Values
from brikk_workflow.domain.journal import Journal
from brikk_workflow.domain.orders import make_scope, readable_outputs
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.state import (
    PENDING,
    ExecutionState,
    ExecutionStatus,
    StepState,
    StepStatus,
)
from brikk_workflow.domain.usage import NO_USAGE, Usage


class Draft:
    """What becomes of an execution while events are folded; `decision` ends it.

    `orders` are the calls ordered here, by token, and `cancels` take back earlier ones.
    """

    def __init__(
        self,
        workflow: CompiledWorkflow,
        state: ExecutionState,
        values: Values,
        now: datetime,
        random: Callable[[], float],
    ) -> None:
        self.workflow = workflow
        self.now = now
        self.random = random
        self.journal = Journal(workflow, state, now)
        self.status = state.status
        self.failure = state.failure
        self.dispatches = state.dispatches
        self.calls = state.calls
        self.usage = state.usage
        self.admitted = state.admitted
        self.deadline = state.deadline
        self.held_at = state.held_at
        self.pause_reason = state.pause_reason
        self.steps = dict(state.steps)
        self.outputs: dict[str, Json] = {}
        self.output: Json = None
        self.orders: dict[str, Call] = {}
        self.cancels: list[CancelCall] = []
        self._before = state
        self._readable = readable_outputs(state, values)
        self.scope = make_scope(workflow, self._readable, values)

    @property
    def clock(self) -> datetime:
        """The time by which steps go: it stands still while the execution is held."""
        return self.held_at or self.now

    @property
    def running(self) -> bool:
        """Whether steps may be called."""
        return self.status is ExecutionStatus.RUNNING

    def step(self, step_id: str) -> StepState:
        """Return where a step stands."""
        return self.steps.get(step_id, PENDING)

    def under_way(self, status: StepStatus | None = None) -> Iterator[tuple[str, StepState]]:
        """Yield the steps under way, each as it stands when its turn comes."""
        for step_id in list(self.steps):
            step = self.steps[step_id]
            if step.status.under_way and status in (None, step.status):
                yield step_id, step

    def ready(self) -> list[str]:
        """Return the steps that could begin: not begun, and all they wait for done."""
        return [
            step.id
            for step in self.workflow.definition.steps
            if step.id not in self.steps and self._may_begin(step.after)
        ]

    def freed_by(self, step_id: str) -> list[str]:
        """Return the steps for which this one, just done, was the last they waited for."""
        return [
            dependent
            for dependent in self.workflow.steps[step_id].dependents
            if self._may_begin(self.workflow.steps[dependent].step.after)
        ]

    def accept(self, step_id: str, output: Mapping[str, Json]) -> None:
        """Keep the output of a step."""
        self.outputs[step_id] = self._readable[step_id] = output

    def use(self, usage: Usage) -> None:
        """Add what a call used."""
        if usage is not NO_USAGE:
            self.usage += usage

    def skip(self, step_id: str, why: Mapping[str, Json]) -> None:
        """Record that a step is done without an output; `why` is empty when its condition says."""
        self.steps[step_id] = replace(
            self.step(step_id),
            status=StepStatus.SKIPPED,
            token="",
            failure=None,
            due_at=None,
            ended_at=self.now,
        )
        self._readable[step_id] = None
        self.journal.step_skipped(step_id, why)

    def withdraw(self, step_id: str, step: StepState) -> None:
        """Cancel the call in flight, if there is one."""
        if step.token and not self.forget(step.token):
            self.cancels.append(CancelCall(step_id=step_id, token=step.token))

    def forget(self, token: str) -> bool:
        """Take back an order that was not given out yet; return whether there was one."""
        return self.orders.pop(token, None) is not None

    def decision(self) -> Decision:
        """Return what has come together."""
        if not self.journal.entries:
            return Decision(state=self._before)
        return Decision(
            state=ExecutionState(
                status=self.status,
                sequence=self.journal.sequence,
                dispatches=self.dispatches,
                calls=self.calls,
                usage=self.usage,
                admitted=self.admitted,
                started_at=self._before.started_at,
                deadline=self.deadline,
                held_at=self.held_at,
                pause_reason=self.pause_reason,
                ended_at=self.now if self.status.terminal else None,
                failure=self.failure,
                steps=self.steps,
            ),
            history=tuple(self.journal.entries),
            commands=(*self.cancels, *self.orders.values()),
            announcements=tuple(self.journal.announcements),
            outputs=self.outputs,
            output=self.output,
        )

    def _may_begin(self, after: tuple[str, ...]) -> bool:
        return all(self.step(before).status.done for before in after)
