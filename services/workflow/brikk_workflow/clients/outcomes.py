"""Tells discovery what became of calls, so that all callers choose better."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

import structlog

from brikk.discovery.v1 import discovery_service_pb2 as pb
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError
from brikk_shared.selection import OutcomeSum, Selector
from brikk_workflow.clients.discovery import Discovery

log = structlog.get_logger()

INTERVAL = timedelta(seconds=2)


class OutcomeReports:
    """Reports in batches what a selector learned. A report that is lost is not repeated."""

    def __init__(self, selector: Selector, discovery: Discovery, *, clock: Clock) -> None:
        self._selector = selector
        self._discovery = discovery
        self._clock = clock

    async def run(self) -> None:
        """Reports for ever."""
        while True:
            await self._clock.sleep(INTERVAL)
            reports: defaultdict[str, list[Sequence[OutcomeSum]]] = defaultdict(list)
            while batch := self._selector.take_outcomes():
                reports[batch[0].organization].append(batch)
            await asyncio.gather(*(self._report(*each) for each in reports.items()))

    async def _report(self, organization: str, batches: Sequence[Sequence[OutcomeSum]]) -> None:
        try:
            for batch in batches:
                await self._discovery.report(organization, [_to_message(each) for each in batch])
        except BrikkError as error:
            log.warning("outcomes are lost", organization=organization, reason=error.reason)


def _to_message(outcome: OutcomeSum) -> pb.Outcome:
    message = pb.Outcome(
        agent=outcome.agent,
        capability=outcome.capability,
        successes=outcome.successes,
        failures=outcome.failures,
        quality=outcome.quality,
    )
    message.latency.FromTimedelta(outcome.latency)
    return message
