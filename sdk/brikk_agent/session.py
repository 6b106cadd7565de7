"""A stream on which a caller sends many units of work and gets their results as they are ready."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.rpc import status_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_agent.errors import clean
from brikk_agent.line import Line

Outcome: TypeAlias = pb.ExecuteResponse | status_pb2.Status
Answer: TypeAlias = Callable[[pb.ExecuteRequest, float, Line], Awaitable[Outcome]]
"""Does one unit of work, for whose result the caller waits so many seconds."""

# A caller with gRPC's defaults takes messages of 4 MiB; a result of 1 MiB may exceed this.
_MESSAGE_BYTES = 1 << 20
_BEATS = 3
"""Heartbeats sent in the time that the caller waits for one."""
_PROGRESS_INTERVAL = 1.0
"""Seconds between two words about the progress of a unit, at least."""
_PROGRESS_LENGTH = 200


class Session:
    """Serves one stream. Units of work run side by side; when the caller goes, they are cancelled.

    Results that became ready while a message was sent share the next one. Orders that come after
    the session began to end are answered with `refusal`. While units are under way, the caller
    hears something every `interval`.
    """

    def __init__(
        self,
        call: grpc.aio.ServicerContext[Any, Any],
        answer: Answer,
        *,
        refusal: status_pb2.Status,
        interval: timedelta,
    ) -> None:
        self._call = call
        self._answer = answer
        self._refusal = refusal
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._work: dict[int, asyncio.Task[None]] = {}
        self._told: dict[int, float] = {}
        """When something was last told of the progress of units, by the loop's clock."""
        self._messages: deque[pb.SessionResponse] = deque()
        self._bytes = 0
        """Of the last message, which is still being filled."""
        self._news = asyncio.Event()
        self._ending = False

    async def serve(self, lifetime: float) -> None:
        """Takes orders until the caller ends the stream, `end` is called or `lifetime` seconds
        have passed; returns once all that were taken have been answered.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(group))
            reading.add_done_callback(lambda _: self.end())
            sounding = group.create_task(self._sound())
            expiry = self._loop.call_later(lifetime, self.end)
            try:
                await self._write()
            finally:
                expiry.cancel()
                reading.cancel()
                sounding.cancel()

    def end(self) -> None:
        """Takes no more orders."""
        self._ending = True
        self._news.set()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while (request := await self._call.read()) is not grpc.aio.EOF:
            for order in request.orders:
                if self._ending:
                    self._give(order.order_id, self._refusal)
                elif order.order_id not in self._work:
                    work = self._work[order.order_id] = group.create_task(self._do(order))
                    work.add_done_callback(partial(self._forget, order.order_id))
            for order_id in request.cancelled:
                if (task := self._work.get(order_id)) is not None:
                    task.cancel()

    async def _do(self, order: pb.SessionOrder) -> None:
        seconds = order.timeout.seconds + order.timeout.nanos / 1e9
        self._give(order.order_id, await self._answer(order.request, seconds, self._line(order)))

    def _forget(self, order_id: int, _: asyncio.Task[None]) -> None:
        # Not by the task itself: one that is cancelled before it began never runs.
        del self._work[order_id]
        self._told.pop(order_id, None)
        self._news.set()

    def _line(self, order: pb.SessionOrder) -> Line:
        later = self._loop.call_soon_threadsafe
        beat, interval = None, 0.0
        if order.HasField("heartbeat_timeout"):
            limit = order.heartbeat_timeout
            beat = partial(later, self._beat, order.order_id)
            interval = (limit.seconds + limit.nanos / 1e9) / _BEATS
        line = Line(beat, interval, news=lambda: later(self._tell, order.order_id, line))
        return line

    def _tell(self, order_id: int, line: Line) -> None:
        """Tells of the progress of a unit, unless that was done a moment ago."""
        if order_id not in self._work:
            return
        now = self._loop.time()
        due = self._told.get(order_id, now - _PROGRESS_INTERVAL) + _PROGRESS_INTERVAL
        if due > now:
            self._loop.call_at(due, self._tell, order_id, line)
            return
        self._told[order_id] = now
        progress = line.take_progress()
        assert progress is not None  # it is why this was called
        message = self._open_message()
        told = message.progress.add(
            order_id=order_id,
            fraction=progress.fraction,
            message=clean(progress.message, _PROGRESS_LENGTH),
        )
        self._bytes += told.ByteSize()
        self._news.set()

    def _beat(self, order_id: int) -> None:
        if order_id in self._work:
            self._open_message().heartbeats.append(order_id)
            self._news.set()

    async def _sound(self) -> None:
        """Lets the caller hear something when there is nothing to tell."""
        while True:
            await asyncio.sleep(self._interval.total_seconds())
            if self._work:
                self._open_message()
                self._news.set()

    def _give(self, order_id: int, outcome: Outcome) -> None:
        message = self._open_message()
        if isinstance(outcome, pb.ExecuteResponse):
            result = message.results.add(order_id=order_id, response=outcome)
        else:
            result = message.results.add(order_id=order_id, status=outcome)
        self._bytes += result.ByteSize()
        self._news.set()

    def _open_message(self) -> pb.SessionResponse:
        """The message that takes the next result or heartbeat."""
        if not self._messages or self._bytes >= _MESSAGE_BYTES:
            self._bytes = 0
            self._messages.append(pb.SessionResponse())
        return self._messages[-1]

    async def _write(self) -> None:
        taken = pb.SessionResponse()  # the first message takes the session
        taken.interval.FromTimedelta(self._interval)
        await self._call.write(taken)
        while self._work or self._messages or not self._ending:
            await self._news.wait()
            self._news.clear()
            while self._messages:
                await self._call.write(self._messages.popleft())
