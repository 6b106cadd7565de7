"""Rounds of bids of one execution: agents are asked at once, and waited for until the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from brikk_shared.selection import Option
from brikk_workflow.domain.decision import AskBids, Bid, BidsReceived, Event
from brikk_workflow.runtime.engine import Engine

log = structlog.get_logger()


class Bidding:
    """Asks for bids; what came in time is posted, unless it was cancelled.

    `settled` is called whenever a round has ended, however it did.
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
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def __bool__(self) -> bool:
        return bool(self._rounds)

    def __contains__(self, token: str) -> bool:
        return token in self._rounds

    def ask(self, order: AskBids) -> None:
        """Begins a round."""
        task = self._rounds[order.token] = asyncio.create_task(self._ask(order))
        task.add_done_callback(partial(self._ended, order))

    def cancel(self, token: str) -> None:
        """Ends a round before its time, if it is under way."""
        if token in self._rounds:
            self._rounds[token].cancel()

    def cancel_all(self) -> None:
        """Ends every round."""
        for token in list(self._rounds):
            self.cancel(token)

    def _ended(self, order: AskBids, task: asyncio.Task[None]) -> None:
        del self._rounds[order.token]
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect must not keep the step waiting for ever.
            log.error("bids fail", execution=self._execution, exc_info=error)
            self._post(BidsReceived(step_id=order.step_id, token=order.token, bids=()))
        self._settled()

    async def _ask(self, order: AskBids) -> None:
        find = partial(self._engine.directory.find, self._organization, order.capability)
        there = [option for option in map(find, order.agents) if option is not None]
        bids = await asyncio.gather(*(self._bid(order, option) for option in there))
        made = tuple(bid for bid in bids if bid is not None)
        self._post(BidsReceived(step_id=order.step_id, token=order.token, bids=made))

    async def _bid(self, order: AskBids, option: Option) -> Bid | None:
        return await self._engine.caller.bid(
            option, order, execution=self._execution, traceparent=self._traceparent
        )
