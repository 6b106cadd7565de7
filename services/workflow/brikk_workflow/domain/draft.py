"""A decision in the making, which the rules of the rooms beside it change."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from brikk_workflow.domain.compiled import Body, CompiledStep, CompiledWorkflow
from brikk_workflow.domain.decision import (
    AskBids,
    Call,
    CancelCall,
    Decision,
    Muster,
    StartChild,
    Values,
)
from brikk_workflow.domain.definition import Budget
from brikk_workflow.domain.journal import Journal
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.reading import Reading
from brikk_workflow.domain.scope import Scope
from brikk_workflow.domain.state import (
    PENDING,
    ExecutionState,
    ExecutionStatus,
    StepState,
    StepStatus,
)
from brikk_workflow.domain.usage import NO_USAGE, Usage, tightest

MAX_TURNS = 200
"""Items and iterations that one decision begins once it has begun as many steps: so that one
execution never keeps the others waiting."""


class Draft:
    """What becomes of an execution while events are folded; `decision` ends it.

    `orders` are the calls ordered here, by token, and `cancels` take back earlier ones. `ready`
    are the paths of steps that may begin. With `unfinished` more could be done at once.
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
        self.state_version = state.state_version
        self.undo = state.undo
        self.closing = state.closing
        self.inherited = state.inherited
        self.steps = dict(state.steps)
        self.outputs: dict[str, Json] = {}
        self.output: Json = None
        self.orders: dict[str, Call | Muster | AskBids | StartChild] = {}
        self.cancels: list[CancelCall] = []
        self.ready: deque[str] = deque()
        self.turns = 0
        self.unfinished = False
        self.reading = Reading(workflow, values, self.outputs, self.steps, state.state_version)
        self._before = state
        self._dropped: dict[str, None] = {}

    @property
    def clock(self) -> datetime:
        """The time by which steps go: it stands still while the execution is held."""
        return self.held_at or self.now

    @property
    def running(self) -> bool:
        """Whether steps may be called."""
        return self.status is ExecutionStatus.RUNNING

    @property
    def budget(self) -> Budget:
        """What it may use: what its workflow allows, and what is left above it."""
        own = self.workflow.definition.budget
        return own if self.inherited is None else tightest(own, self.inherited.budget)

    def step(self, path: str) -> StepState:
        """Return where a step stands."""
        return self.steps.get(path, PENDING)

    def under_way(
        self, status: StepStatus | None = None, *, inside: str = ""
    ) -> Iterator[tuple[str, StepState]]:
        """Yield the steps under way, each as it stands when its turn comes.

        Only those with a status, or in the scope of a prefix, if it is given.
        """
        for path in list(self.steps):
            step = self.steps.get(path)
            if (
                step is not None
                and step.status.under_way
                and status in (None, step.status)
                and path.startswith(inside)
            ):
                yield path, step

    def scope(self, path: str, compiled: CompiledStep) -> Scope:
        """Return what a step may read."""
        return self.reading.scope(compiled.prefix(path), compiled.body)

    def take_turn(self) -> bool:
        """Tell whether one more item or iteration may begin in this decision."""
        if not self.running:
            return False
        self.unfinished = self.unfinished or self.turns >= MAX_TURNS
        return not self.unfinished

    def enter(self, prefix: str, body: Body) -> None:
        """Begin a list of steps: those that wait for nothing are ready."""
        self.ready.extend(prefix + step_id for step_id in self.unbegun(prefix, body))

    def unbegun(self, prefix: str, body: Body) -> Iterator[str]:
        """Yield the ids of a scope's steps that could begin, or be skipped, and have not."""
        for step_id, compiled in body.steps.items():
            if prefix + step_id not in self.steps and self._may_begin(prefix, compiled):
                yield step_id

    def freed_by(self, path: str, compiled: CompiledStep) -> Iterator[str]:
        """Yield the steps which this one, just ended, was the last to keep from their turn."""
        prefix = compiled.prefix(path)
        for step_id in compiled.dependents:
            after = prefix + step_id
            if after not in self.steps and self._may_begin(prefix, compiled.body.steps[step_id]):
                yield after

    def has_ended(self, prefix: str, body: Body) -> bool:
        """Tell whether nothing more becomes of any step of a scope."""
        # From the last one on, which is most often the one that has not.
        for step_id in reversed(body.steps):
            step = self.steps.get(prefix + step_id)
            if step is None or not step.status.ended:
                return False
        return True

    def accept(self, path: str, output: Json) -> None:
        """Keep the output of a step; null is what is read anyway."""
        if output is not None or self.reading.stored(path):
            self.outputs[path] = output
        else:
            self.outputs.pop(path, None)

    def drop(self, path: str) -> None:
        """Forget what lies at a path among the outputs."""
        self.outputs.pop(path, None)
        if self.reading.stored(path):
            self._dropped[path] = None

    def forget_scope(self, prefix: str, body: Body) -> None:
        """Forget the steps of an item or iteration that has ended, and what they put out."""
        for step_id, compiled in body.steps.items():
            path = prefix + step_id
            if compiled.bodies or compiled.compensate:
                for each in [each for each in self.steps if each.startswith(f"{path}/")]:
                    del self.steps[each]
                    self.drop(each)
            if self.steps.pop(path, None) is not None:
                self.drop(path)
        self.reading.forget(prefix)

    def use(self, usage: Usage) -> None:
        """Add what a call used."""
        if usage is not NO_USAGE:
            self.usage += usage

    def withdraw(self, path: str, step: StepState) -> None:
        """Cancel the call in flight, if there is one."""
        if step.token and not self.forget(step.token):
            self.cancels.append(CancelCall(step_id=path, token=step.token))

    def cancel(self, path: str, step: StepState) -> None:
        """End a step that is not waited for any more."""
        self.withdraw(path, step)
        self.steps[path] = replace(
            step, status=StepStatus.CANCELLED, token="", due_at=None, ended_at=self.now
        )
        self.journal.step_cancelled(path)

    def cancel_inside(self, prefix: str) -> None:
        """End all that is under way in a scope."""
        for path, step in self.under_way(inside=prefix):
            self.cancel(path, step)

    def forget(self, token: str) -> bool:
        """Take back an order that was not given out yet; return whether there was one."""
        return self.orders.pop(token, None) is not None

    def decision(self) -> Decision:
        """Return what has come together."""
        if not self.journal.entries:
            return Decision(state=self._before, unfinished=self.unfinished)
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
                state_version=self.state_version,
                undo=self.undo,
                closing=self.closing,
                inherited=self.inherited,
                steps=self.steps,
            ),
            history=tuple(self.journal.entries),
            commands=(*self.cancels, *self.orders.values()),
            announcements=tuple(self.journal.announcements),
            outputs=self.outputs,
            dropped=tuple(self._dropped),
            output=self.output,
            unfinished=self.unfinished and self.running,
        )

    def _may_begin(self, prefix: str, compiled: CompiledStep) -> bool:
        """Tell whether a step's turn has come, be it that it can never begin and is skipped."""
        step = compiled.step
        if step.join is not None:
            succeeded, ended = self.joined(prefix, compiled)
            return succeeded >= step.join or succeeded + len(step.after) - ended < step.join
        for before in step.after:
            state = self.steps.get(prefix + before)
            if state is None or not state.status.ended:
                return False
        return True

    def joined(self, prefix: str, compiled: CompiledStep) -> tuple[int, int]:
        """Return how many of the steps that a step waits for have succeeded, and have ended."""
        states = [self.step(prefix + before).status for before in compiled.step.after]
        return states.count(StepStatus.SUCCEEDED), sum(state.ended for state in states)
