"""The executions that the steps of one execution run, as long as it is held here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brikk_shared.errors import BrikkError
from brikk_workflow.domain.decision import (
    AttemptFailed,
    AttemptSucceeded,
    ChildStarted,
    Event,
    StartChild,
)
from brikk_workflow.domain.failure import Failure, child_failed
from brikk_workflow.domain.record import ExecutionRecord
from brikk_workflow.domain.state import ExecutionStatus
from brikk_workflow.runtime.engine import Engine


class Children:
    """Follows them; what becomes of each is posted, unless it was cancelled or let go."""

    def __init__(
        self,
        engine: Engine,
        above: ExecutionRecord,
        *,
        post: Callable[[Event], None],
    ) -> None:
        self._engine = engine
        self._above = above
        self._post = post
        self._followed: dict[str, tuple[StartChild, asyncio.Task[None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._followed)

    def __contains__(self, token: str) -> bool:
        return token in self._followed

    def run(self, order: StartChild) -> None:
        """Begins an execution, or finds the one that was begun, and follows it."""
        task = asyncio.create_task(self._follow(order))
        self._followed[order.token] = (order, task)

    def cancel(self, token: str, path: str) -> None:
        """Has an execution cancelled and waits for it no more."""
        self._followed.pop(token, None)
        self._engine.subworkflows.cancel(self._above, path)

    def let_go(self) -> None:
        """Waits for none any more: they run on, and whoever takes over finds them."""
        for _, task in self._followed.values():
            task.cancel()
        self._followed.clear()

    async def _follow(self, order: StartChild) -> None:
        clock = self._engine.clock
        begun_at = clock.now()
        try:
            begun = await self._engine.subworkflows.begin(self._above, order)
        except BrikkError as error:
            event: Event = AttemptFailed(
                step_id=order.step_id,
                token=order.token,
                agent="",
                latency=clock.now() - begun_at,
                failure=Failure.of(error),
            )
        else:
            if order.token not in self._followed:
                # Whoever cancelled it looked before it was there.
                self._engine.subworkflows.cancel(self._above, order.step_id)
                return
            name = f"executions/{begun.execution_id}"
            self._post(ChildStarted(step_id=order.step_id, token=order.token, execution=name))
            ended = await self._engine.subworkflows.until_ended(begun)
            event = _answer(order, ended)
        if self._followed.pop(order.token, None):
            self._post(event)


def _answer(order: StartChild, ended: ExecutionRecord) -> Event:
    state = ended.state
    latency = (state.ended_at or state.started_at) - state.started_at
    if state.status is ExecutionStatus.SUCCEEDED:
        return AttemptSucceeded(
            step_id=order.step_id,
            token=order.token,
            agent="",
            latency=latency,
            output=ended.output,
            usage=state.usage,
            calls=state.calls,
        )
    return AttemptFailed(
        step_id=order.step_id,
        token=order.token,
        agent="",
        latency=latency,
        failure=child_failed(f"executions/{ended.execution_id}", state.failure),
        usage=state.usage,
        calls=state.calls,
    )
