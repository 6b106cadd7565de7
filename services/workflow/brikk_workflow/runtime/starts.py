"""What an execution is started with, and the decision that begins it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from brikk_workflow.domain.compiled import CompiledWorkflow
from brikk_workflow.domain.decider import adopt, start
from brikk_workflow.domain.decision import Decision, Values
from brikk_workflow.domain.definition import WorkflowDefinition
from brikk_workflow.domain.payload import Json
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import Inherited


@dataclass(frozen=True, kw_only=True, slots=True)
class Retried:
    """An execution that ended, what it ran, and what its steps returned.

    `from_step` is done again, and so is what follows it; empty for what was not done only.
    """

    record: ExecutionRecord
    definition: WorkflowDefinition
    outputs: Mapping[str, Json]
    from_step: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What an execution is started with; `input` has been accepted by the workflow's schema.

    With `newest` it only begins while `workflow` is the newest version. With `retried` it goes on
    with what that one had done. `inherited` bounds what another execution runs.
    """

    organization: str
    workflow: CompiledWorkflow
    newest: bool
    input: Mapping[str, Json]
    labels: Mapping[str, str]
    priority: int
    request_id: str
    traceparent: str
    retried: Retried | None = None
    inherited: Inherited | None = None

    @property
    def retry_of(self) -> str:
        """The execution in whose place it is started, empty when there is none."""
        return self.retried.record.execution_id if self.retried else ""

    def decide(
        self, values: Values, *, now: datetime, random: Callable[[], float], queued: bool
    ) -> Decision:
        """Returns what begins it; its outputs are those that it takes over."""
        if self.retried is None:
            return start(
                self.workflow,
                values=values,
                now=now,
                random=random,
                queued=queued,
                inherited=self.inherited,
            )
        return adopt(
            self.workflow,
            retry_of=self.retry_of,
            definition=self.retried.definition,
            state=self.retried.record.state,
            from_step=self.retried.from_step,
            values=replace(values, outputs=self.retried.outputs),
            now=now,
            random=random,
            queued=queued,
        )
