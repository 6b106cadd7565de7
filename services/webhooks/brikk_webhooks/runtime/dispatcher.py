"""Takes due deliveries off the queue and has them attempted, fairly and within bounds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from brikk_shared.errors import Unavailable
from brikk_shared.ids import new_id
from brikk_webhooks.domain.dispatch import Claim, Report
from brikk_webhooks.domain.fairness import share
from brikk_webhooks.store.lanes import Lane
from brikk_webhooks.store.queue import Queue, Waiting

_BATCH = 128
_NOW = timedelta()
_LONG = timedelta(hours=1)

_logger = structlog.stdlib.get_logger(__name__)


class Dispatcher:
    """Serves one lane of the queue, with slots of its own.

    It claims as long as it has free slots and somebody's delivery is due; then it waits until it is
    woken, until the next one is due, or until it is time to look for those that came in elsewhere.

    A slot is free again when the endpoint has answered; the log of an attempt takes none, so that
    a commit under way keeps nobody from being called.

    Args:
        send: makes an attempt; it does not raise for anything an endpoint can do.
        log: writes down what came of it.
        slots: most requests under way.
        most: most requests under way to one webhook.
        lease: how long a claim holds; longer than an attempt takes.
        poll: how long it waits at most before it looks again; None when somebody wakes it.
    """

    def __init__(
        self,
        lane: Lane,
        queue: Queue,
        send: Callable[[Claim], Awaitable[Report]],
        log: Callable[[Report], Awaitable[None]],
        *,
        slots: int,
        most: int,
        lease: timedelta,
        poll: timedelta | None,
    ) -> None:
        self._lane = lane
        self._queue = queue
        self._send = send
        self._log = log
        self._slots = slots
        self._most = most
        self._lease = lease
        self._poll = _LONG if poll is None else poll
        self._held: set[Claim] = set()
        self._busy: Counter[str] = Counter()
        self._in_flight = 0
        self._hungry = False
        self._draining = False
        self._claiming = asyncio.Lock()
        self._wake = asyncio.Event()
        self._emptied = asyncio.Event()
        self._looked = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        return self._in_flight

    def wake(self) -> None:
        """Let it look at the queue now: something has come in."""
        self._wake.set()

    async def look(self) -> None:
        """Look at the queue now, and wait until nobody is due who may be attempted."""
        self._looked.clear()
        self._wake.set()
        await self._looked.wait()

    async def drain(self) -> None:
        """Claim nothing more, and wait until what is under way is done and logged."""
        self._draining = True
        async with self._claiming:
            self._emptied.clear()
        if self._held:
            await self._emptied.wait()

    async def run(self) -> None:
        """Dispatch until cancelled; what is under way then is broken off and given back."""
        try:
            async with asyncio.TaskGroup() as attempts:
                while True:
                    self._wake.clear()
                    pause = await self._fill(attempts)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause.total_seconds()):
                            await self._wake.wait()
        finally:
            await self._give_back()

    async def _fill(self, attempts: asyncio.TaskGroup) -> timedelta:
        """Start whatever may be started; say when to look again at the latest."""
        pause = self._poll
        try:
            async with self._claiming:
                while not self._draining:
                    if self._in_flight == self._slots:
                        self._hungry = True
                        break
                    catch = await self._queue.claim(
                        self._lane, self._share_out, claim=new_id(), lease=self._lease
                    )
                    for claim in catch.claims:
                        self._held.add(claim)
                        self._busy[claim.webhook_uid] += 1
                        self._in_flight += 1
                        attempts.create_task(self._attempt(claim))
                    if not catch.claims:
                        self._looked.set()
                        later = [each.due_in for each in catch.waiting if each.due_in > _NOW]
                        pause = min([pause, *later])
                        break
        except Unavailable as error:
            _logger.warning("queue_unavailable", lane=self._lane.name, error=error.message)
        return pause

    def _share_out(self, waiting: Sequence[Waiting]) -> Mapping[str, int]:
        room = {
            each.webhook_uid: min(
                self._most - self._busy[each.webhook_uid],
                self._most if each.room is None else each.room,
            )
            for each in waiting
            if each.due_in <= _NOW
        }
        # Whoever is due and gets nothing now may get the slot of the next to end.
        self._hungry = bool(room)
        free = self._slots - self._in_flight
        return share(min(free, _BATCH), room)

    async def _attempt(self, claim: Claim) -> None:
        report = await self._send(claim)
        self._in_flight -= 1
        self._busy[claim.webhook_uid] -= 1
        if not self._busy[claim.webhook_uid]:
            del self._busy[claim.webhook_uid]
        if self._hungry:
            self._wake.set()
        await self._log(report)
        # Not reached when broken off: then the claim stays among those to give back.
        self._held.remove(claim)
        if not self._held:
            self._emptied.set()

    async def _give_back(self) -> None:
        broken_off = list(self._held)
        self._held.clear()
        self._busy.clear()
        self._in_flight = 0
        if broken_off:
            try:
                await self._queue.release(broken_off)
            except Unavailable as error:
                _logger.warning("claims_not_released", lane=self._lane.name, error=error.message)
