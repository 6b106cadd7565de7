"""The calls of one execution that are in flight."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from brikk_shared.selection import Option
from brikk_workflow.clients.agents import Ongoing
from brikk_workflow.clients.work import Answered, Outcome, Progress, Work
from brikk_workflow.domain.attempt_progress import AttemptProgress
from brikk_workflow.domain.decision import AttemptFailed, AttemptSucceeded, Call, Event
from brikk_workflow.domain.retry import is_retryable
from brikk_workflow.runtime.engine import Engine


class Calls:
    """Makes calls; what became of each is posted, unless it was cancelled.

    `settled` is called whenever a call is no longer in flight, however it ended.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        organization: str,
        execution: str,
        traceparent: str,
        post: Callable[[Event], None],
        settled: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._organization = organization
        self._execution = execution
        self._execution_id = execution.removeprefix("executions/")
        self._traceparent = traceparent
        self._post = post
        self._settled = settled
        self._ongoing: dict[str, tuple[Ongoing, str]] = {}
        """With the agent that each is at."""

    def __bool__(self) -> bool:
        return bool(self._ongoing)

    def __contains__(self, token: str) -> bool:
        return token in self._ongoing

    def send(self, order: Call, candidate: Option) -> None:
        """Begins a call."""
        work = Work(
            order=order,
            execution=self._execution,
            traceparent=self._traceparent,
            input_schema=candidate.input_schema,
            output_schema=candidate.output_schema,
        )
        call = self._engine.caller.call(
            candidate.agent,
            candidate.endpoint,
            work,
            partial(self._done, order, candidate),
            partial(self._tell, order.token),
        )
        self._ongoing[order.token] = (call, candidate.agent)
        self._engine.selector.begin(self._organization, candidate.agent)

    def cancel(self, token: str) -> None:
        """Cancels a call, here and at the agent, if it is in flight."""
        if token in self._ongoing:
            self._forget(token).cancel()

    def cancel_all(self) -> None:
        """Cancels every call in flight."""
        for token in list(self._ongoing):
            self.cancel(token)

    def _forget(self, token: str) -> Ongoing:
        call, agent = self._ongoing.pop(token)
        self._engine.selector.end(self._organization, agent)
        self._engine.progress.end(self._execution_id, token)
        self._settled()
        return call

    def _tell(self, token: str, progress: Progress) -> None:
        told = AttemptProgress(
            fraction=progress.fraction,
            message=progress.message,
            time=self._engine.clock.now(),
        )
        self._engine.progress.tell(self._execution_id, token, told)

    def _done(self, order: Call, candidate: Option, outcome: Outcome) -> None:
        self._forget(order.token)
        self._post(_as_event(order, candidate, outcome))
        succeeded = isinstance(outcome, Answered)
        self._engine.metrics.called(outcome.latency, succeeded=succeeded)
        if self._engine.directory.settle(candidate, outcome):
            self._engine.waiting.offered(self._organization, order.capability)
        # Later choices profit; an agent that refused what was wrong is not to blame.
        if isinstance(outcome, Answered) or is_retryable(outcome.failure):
            self._engine.selector.settle(
                self._organization,
                candidate.agent,
                order.capability,
                succeeded=succeeded,
                latency=outcome.latency,
            )


def _as_event(order: Call, candidate: Option, outcome: Outcome) -> Event:
    if isinstance(outcome, Answered):
        return AttemptSucceeded(
            step_id=order.step_id,
            token=order.token,
            agent=candidate.agent,
            latency=outcome.latency,
            output=outcome.output,
            usage=outcome.usage,
        )
    return AttemptFailed(
        step_id=order.step_id,
        token=order.token,
        agent=candidate.agent,
        latency=outcome.latency,
        failure=outcome.failure,
        usage=outcome.usage,
    )
