"""Calls to agents that a test awaits; the workflow service is told of their end instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from brikk_shared.selection import Policy
from brikk_workflow.clients.agents import AgentCaller
from brikk_workflow.clients.work import Outcome, Progress, Work
from brikk_workflow.domain.decision import Call
from brikk_workflow.domain.payload import Json


def work(
    capability: str,
    given: Mapping[str, Json],
    *,
    timeout: timedelta = timedelta(seconds=30),
    heartbeat: timedelta | None = None,
) -> Work:
    """A unit of work as some step orders it."""
    order = Call(
        step_id="s1",
        capability=capability,
        policy=Policy.BEST,
        attempt=1,
        # Of another execution's attempt it may be the same.
        token="s1-1-1",
        input=given,
        timeout=timeout,
        heartbeat=heartbeat,
    )
    return Work(order=order, execution="executions/e1", traceparent="")


def _unheard(_: Progress) -> None:
    """What nobody listens to."""


async def outcome_of(
    caller: AgentCaller,
    agent: str,
    endpoint: str,
    work: Work,
    told: Callable[[Progress], None] = _unheard,
) -> Outcome:
    """Makes a call and waits for its end; cancelling this cancels the call."""
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    call = caller.call(agent, endpoint, work, outcome.set_result, told)
    try:
        return await outcome
    finally:
        call.cancel()
