"""A stream to one agent that carries many calls: what queues while a message is sent shares one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import TypeAlias

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.errors import BrikkError, DeadlineExceeded, Reason, Unavailable
from brikk_shared.status import from_rpc_error
from brikk_workflow.clients.answers import HeartbeatMissed
from brikk_workflow.clients.requests import fill_request
from brikk_workflow.clients.work import Progress, Work

Stream: TypeAlias = grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]

# An agent with gRPC's defaults takes messages of 4 MiB; an order of 1 MiB may exceed this.
_MESSAGE_BYTES = 1 << 20
# As the contract bounds it.
_MESSAGE_ITEMS = 256
_TICK = 0.05
"""Seconds between two looks at what is late, at least."""
_TAKING = 20.0
"""Seconds in which an agent takes a session or says that it offers none."""
_PATIENCE = 3
"""Intervals of silence after which a session that promised to be heard from is broken."""


class NoSessions(Exception):
    """The agent offers none: its calls go one by one."""


Tell: TypeAlias = Callable[[Progress], None]
"""Is told of the progress of a call under way."""
Settle: TypeAlias = Callable[[pb.SessionResult | BrikkError | NoSessions], None]
"""Is told once what became of a call, by the loop: whatever goes wrong there harms no other."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Unit:
    """A call under way; times are the loop's, in seconds."""

    settle: Settle
    tell: Tell
    ends: float
    heartbeat: float
    due: float
    """When it ends or a heartbeat is missed, whichever comes first."""


class Session:
    """Makes calls until it breaks, which fails those under way, or is retired.

    `open_stream` begins the RPC.
    """

    def __init__(self, open_stream: Callable[[], Stream]) -> None:
        self._open_stream = open_stream
        self._loop = asyncio.get_running_loop()
        self._order_ids = count(1)
        self._units: dict[int, _Unit] = {}
        self._messages: deque[pb.SessionRequest] = deque()
        self._bytes = 0
        """Of the last message, which is still being filled."""
        self._news = asyncio.Event()
        self._retired = False
        self._look: asyncio.TimerHandle | None = None
        self._look_due = inf
        self._held_up = False
        self._silence = _TAKING
        """Seconds without a message, while calls are under way, after which it is broken."""
        self._heard = 0.0
        """When the agent was last heard from, or had no call to tell of."""
        self._stream: Stream | None = None
        self._broken = False
        self.ended = asyncio.create_task(self._run())

    @property
    def usable(self) -> bool:
        """Whether it takes calls."""
        return not (self._broken or self.ended.done())

    def begin(self, work: Work, seconds: float, settle: Settle, tell: Tell) -> int:
        """Has one unit of work done within so many seconds; returns what `cancel` knows it by.

        BrikkError when the input cannot be sent.
        """
        order_id = next(self._order_ids)
        message = self._open_message()
        order = message.orders.add(order_id=order_id)
        try:
            fill_request(order.request, work)
        except BrikkError:
            del message.orders[-1]
            raise
        order.timeout.FromNanoseconds(int(seconds * 1e9))
        now = self._loop.time()
        heartbeat = inf
        if work.order.heartbeat is not None:
            heartbeat = work.order.heartbeat.total_seconds()
            order.heartbeat_timeout.FromTimedelta(work.order.heartbeat)
        self._bytes += order.ByteSize()
        self._news.set()
        if not self._units:
            self._heard = now
        ends = now + seconds
        due = min(ends, now + heartbeat)
        self._units[order_id] = _Unit(
            settle=settle, tell=tell, ends=ends, heartbeat=heartbeat, due=due
        )
        self._look_at(min(due, self._heard + self._silence))
        return order_id

    def cancel(self, order_id: int) -> None:
        """Gives up a call, here and at the agent, unless it has ended."""
        if self._units.pop(order_id, None) is not None:
            self._open_message().cancelled.append(order_id)
            self._news.set()

    def retire(self) -> None:
        """Ends once the calls under way have been answered; no more must be made."""
        self._retired = True
        self._news.set()

    def _open_message(self) -> pb.SessionRequest:
        """The message that takes what comes next, so that no cancellation overtakes its order."""
        if self._messages:
            last = self._messages[-1]
            if (
                self._bytes < _MESSAGE_BYTES
                and len(last.orders) < _MESSAGE_ITEMS
                and len(last.cancelled) < _MESSAGE_ITEMS
            ):
                return last
        self._bytes = 0
        message = pb.SessionRequest()
        self._messages.append(message)
        return message

    async def _run(self) -> None:
        stream = self._stream = self._open_stream()
        error: BrikkError | NoSessions = Unavailable(
            Reason.AGENT_UNAVAILABLE, "the agent ended the session before it answered"
        )
        try:
            # Nothing is written before the agent has taken the session: a write that meets the end
            # of the stream would hide why it ended.
            taken = await stream.read()
            if isinstance(taken, pb.SessionResponse):
                self._listen(taken)
                error = await self._carry(stream) or error
        except grpc.aio.AioRpcError as refused:
            error = from_rpc_error(refused)
            if refused.code() is grpc.StatusCode.UNIMPLEMENTED:
                error = NoSessions()
        finally:
            self._break(error)

    async def _carry(self, stream: Stream) -> Unavailable | None:
        """Carries calls until the stream ends; tells what broke it."""
        writing = asyncio.create_task(self._write(stream))
        try:
            await self._read(stream)
        except grpc.aio.AioRpcError as broken:
            # Whatever the code: of a single call it would have come as its result.
            return Unavailable(Reason.AGENT_UNAVAILABLE, broken.details() or "the session broke")
        finally:
            writing.cancel()
            await asyncio.wait({writing})
        return None

    def _listen(self, taken: pb.SessionResponse) -> None:
        """Expects messages as often as the first one promised."""
        self._heard = self._loop.time()
        self._silence = inf
        if taken.HasField("interval"):
            self._silence = _PATIENCE * max(taken.interval.ToMicroseconds() / 1e6, _TICK)
            self._look_at(self._heard + self._silence)

    async def _read(self, stream: Stream) -> None:
        while isinstance(message := await stream.read(), pb.SessionResponse):
            self._heard = now = self._loop.time()
            for order_id in message.heartbeats:
                if (unit := self._units.get(order_id)) is not None:
                    unit.due = min(unit.ends, now + unit.heartbeat)
            for told in message.progress:
                if (unit := self._units.get(told.order_id)) is not None and 0 <= told.fraction <= 1:
                    unit.due = min(unit.ends, now + unit.heartbeat)
                    unit.tell(Progress(fraction=told.fraction, message=told.message))
            for result in message.results:
                if (unit := self._units.pop(result.order_id, None)) is not None:
                    self._loop.call_soon(unit.settle, result)
            if self._retired:
                self._news.set()

    async def _write(self, stream: Stream) -> None:
        try:
            while self._units or not self._retired:
                await self._news.wait()
                self._news.clear()
                while self._messages:
                    await stream.write(self._messages.popleft())
            await stream.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the stream has ended; reading tells how

    def _look_at(self, due: float) -> None:
        """Sees to it that what is late by then is noticed soon after."""
        if due < self._look_due:
            if self._look is not None:
                self._look.cancel()
            self._look_due = max(due, self._loop.time() + _TICK)
            self._look = self._loop.call_at(self._look_due, self._notice_late)

    def _notice_late(self) -> None:
        now = self._loop.time()
        held_up = now > self._look_due + _TICK and not self._held_up
        self._look, self._look_due, self._held_up = None, inf, held_up
        if not self._units:
            return
        if held_up:  # what came while this process stood still is read before it is missed
            self._look_at(now)
            return
        if now >= self._heard + self._silence:
            silence = f"the agent was silent for {self._silence:.0f} s"
            self._break(Unavailable(Reason.AGENT_UNAVAILABLE, silence))
            return
        for order_id, unit in [each for each in self._units.items() if each[1].due <= now]:
            self.cancel(order_id)
            ended = unit.due == unit.ends
            self._loop.call_soon(
                unit.settle,
                DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline passed")
                if ended
                else HeartbeatMissed(),
            )
        due = min((unit.due for unit in self._units.values()), default=inf)
        self._look_at(min(due, self._heard + self._silence))

    def _break(self, error: BrikkError | NoSessions) -> None:
        """Ends it at once: every call under way fails."""
        self._broken = True
        if self._look is not None:
            self._look.cancel()
        if self._stream is not None:
            self._stream.cancel()
        units, self._units = self._units, {}
        for unit in units.values():
            self._loop.call_soon(unit.settle, error)
