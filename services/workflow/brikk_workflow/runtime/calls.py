"""The calls of one execution that are in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from brikk_shared.selection import Option
from brikk_workflow.clients.agents import Answered, Refused, Work
from brikk_workflow.domain.decision import AttemptFailed, AttemptSucceeded, Call, Event
from brikk_workflow.domain.retry import is_retryable
from brikk_workflow.runtime.engine import Engine


class Calls:
    """Makes calls while its `async with` block runs; what became of each is posted.

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
        self._traceparent = traceparent
        self._post = post
        self._settled = settled
        self._group = asyncio.TaskGroup()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def __contains__(self, token: str) -> bool:
        return token in self._tasks

    def send(self, order: Call, candidate: Option) -> None:
        """Begins a call."""
        task = self._group.create_task(self._call(order, candidate))
        self._tasks[order.token] = task
        task.add_done_callback(lambda _: self._forget(order.token))

    def cancel(self, token: str) -> None:
        """Cancels a call, here and at the agent, if it is in flight."""
        if task := self._tasks.get(token):
            task.cancel()

    def _forget(self, token: str) -> None:
        del self._tasks[token]
        self._settled()

    async def _call(self, order: Call, candidate: Option) -> None:
        work = Work(
            capability=order.capability,
            input=order.input,
            execution=self._execution,
            step=order.step_id,
            attempt=order.attempt,
            idempotency_key=f"{self._execution}/{order.step_id}",
            attempt_token=order.token,
            traceparent=self._traceparent,
            timeout=order.timeout,
        )
        with self._engine.selector.calling(self._organization, candidate.agent):
            outcome = await self._engine.caller.call(candidate.agent, candidate.endpoint, work)
        self._engine.metrics.call_seconds.observe(outcome.latency.total_seconds())
        self._learn(order, candidate, outcome)
        result = "succeeded" if isinstance(outcome, Answered) else "failed"
        self._engine.metrics.calls.labels(result).inc()
        self._post(_as_event(order, candidate, outcome))

    def _learn(self, order: Call, candidate: Option, outcome: Answered | Refused) -> None:
        """Lets later choices profit; an agent that refused what was wrong is not to blame."""
        if isinstance(outcome, Answered) or is_retryable(outcome.failure):
            self._engine.selector.settle(
                self._organization,
                candidate.agent,
                order.capability,
                succeeded=isinstance(outcome, Answered),
                latency=outcome.latency,
            )


def _as_event(order: Call, candidate: Option, outcome: Answered | Refused) -> Event:
    if isinstance(outcome, Answered):
        return AttemptSucceeded(
            step_id=order.step_id,
            token=order.token,
            agent=candidate.agent,
            latency=outcome.latency,
            output=outcome.output,
        )
    return AttemptFailed(
        step_id=order.step_id,
        token=order.token,
        agent=candidate.agent,
        latency=outcome.latency,
        failure=outcome.failure,
    )
