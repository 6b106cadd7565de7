"""A stream on which a caller sends many units of work and gets their results as they are ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from google.rpc import status_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as pb

Outcome: TypeAlias = pb.ExecuteResponse | status_pb2.Status
Answer: TypeAlias = Callable[[pb.ExecuteRequest, float], Awaitable[Outcome]]
"""Does one unit of work, for whose result the caller waits so many seconds."""

# A caller with gRPC's defaults takes messages of 4 MiB; one result may have 1 MiB.
_MESSAGE_BYTES = 1 << 20


class Session:
    """Serves one stream. Units of work run side by side; when the caller goes, they are cancelled.

    Results that became ready while a message was sent share the next one. Orders that come after
    the session began to end are answered with `refusal`.
    """

    def __init__(
        self,
        call: grpc.aio.ServicerContext[Any, Any],
        answer: Answer,
        *,
        refusal: status_pb2.Status,
    ) -> None:
        self._call = call
        self._answer = answer
        self._refusal = refusal
        self._work: dict[int, asyncio.Task[None]] = {}
        self._results: list[pb.SessionResult] = []
        self._news = asyncio.Event()
        self._ending = False

    async def serve(self, lifetime: float) -> None:
        """Takes orders until the caller ends the stream, `end` is called or `lifetime` seconds
        have passed; returns once all that were taken have been answered.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read(group))
            reading.add_done_callback(lambda _: self.end())
            expiry = asyncio.get_running_loop().call_later(lifetime, self.end)
            try:
                await self._write()
            finally:
                expiry.cancel()
                reading.cancel()

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
                    self._work[order.order_id] = group.create_task(self._do(order))
            for order_id in request.cancelled:
                if (task := self._work.get(order_id)) is not None:
                    task.cancel()

    async def _do(self, order: pb.SessionOrder) -> None:
        try:
            seconds = order.timeout.seconds + order.timeout.nanos / 1e9
            self._give(order.order_id, await self._answer(order.request, seconds))
        finally:
            del self._work[order.order_id]
            self._news.set()

    def _give(self, order_id: int, outcome: Outcome) -> None:
        if isinstance(outcome, pb.ExecuteResponse):
            result = pb.SessionResult(order_id=order_id, response=outcome)
        else:
            result = pb.SessionResult(order_id=order_id, status=outcome)
        self._results.append(result)
        self._news.set()

    async def _write(self) -> None:
        await self._call.write(pb.SessionResponse())  # the session is taken
        while self._work or self._results or not self._ending:
            await self._news.wait()
            self._news.clear()
            while self._results:
                await self._call.write(pb.SessionResponse(results=self._next_results()))

    def _next_results(self) -> list[pb.SessionResult]:
        """What fits into a message: one result at least."""
        size, count = 0, 0
        for result in self._results:
            size += result.ByteSize()
            if count and size > _MESSAGE_BYTES:
                break
            count += 1
        taken, self._results = self._results[:count], self._results[count:]
        return taken
