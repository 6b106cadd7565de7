"""A stream to one agent that carries many calls: what queues while a message is sent shares one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.errors import BrikkError, DeadlineExceeded, Reason, Unavailable
from brikk_shared.status import from_rpc_error, from_status

Stream: TypeAlias = grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]

# An agent with gRPC's defaults takes messages of 4 MiB; one input may have 1 MiB.
_MESSAGE_BYTES = 1 << 20
# As the contract bounds it.
_MESSAGE_ITEMS = 256


class NoSessions(Exception):
    """The agent offers none: its calls go one by one."""


class Session:
    """Makes calls until it breaks, which fails those under way, or is retired.

    `open_stream` begins the RPC.
    """

    def __init__(self, open_stream: Callable[[], Stream]) -> None:
        self._open_stream = open_stream
        self._order_ids = count(1)
        self._answers: dict[int, asyncio.Future[pb.ExecuteResponse]] = {}
        self._orders: list[pb.SessionOrder] = []
        self._cancelled: list[int] = []
        self._news = asyncio.Event()
        self._retired = False
        self.ended = asyncio.create_task(self._run())

    async def call(self, request: pb.ExecuteRequest, seconds: float) -> pb.ExecuteResponse:
        """Has one unit of work done. Cancelling this cancels it at the agent.

        Raises:
            NoSessions: the agent offers none.
            BrikkError: what the agent refused it with, or what became of the stream or the time.
        """
        order_id = next(self._order_ids)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[pb.ExecuteResponse] = loop.create_future()
        self._answers[order_id] = answer
        order = pb.SessionOrder(order_id=order_id, request=request)
        order.timeout.FromNanoseconds(int(seconds * 1e9))
        self._orders.append(order)
        self._news.set()
        expiry = loop.call_later(seconds, _expire, answer)
        try:
            return await answer
        finally:
            expiry.cancel()
            if self._answers.pop(order_id, None) is not None:
                self._cancelled.append(order_id)
                self._news.set()

    def retire(self) -> None:
        """Ends once the calls under way have been answered; no more must be made."""
        self._retired = True
        self._news.set()

    async def _run(self) -> None:
        stream = self._open_stream()
        error: Exception = Unavailable(
            Reason.AGENT_UNAVAILABLE, "the agent ended the session before it answered"
        )
        try:
            # Nothing is written before the agent has taken the session: a write that meets the end
            # of the stream would hide why it ended.
            if await stream.read() is not grpc.aio.EOF:
                error = await self._carry(stream) or error
        except grpc.aio.AioRpcError as refused:
            error = from_rpc_error(refused)
            if refused.code() is grpc.StatusCode.UNIMPLEMENTED:
                error = NoSessions()
        finally:
            stream.cancel()
            answers, self._answers = self._answers, {}
            for answer in answers.values():
                if not answer.done():
                    answer.set_exception(error)

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

    async def _read(self, stream: Stream) -> None:
        while isinstance(message := await stream.read(), pb.SessionResponse):
            for result in message.results:
                answer = self._answers.pop(result.order_id, None)
                if answer is None or answer.done():
                    continue
                if result.HasField("response"):
                    answer.set_result(result.response)
                else:
                    answer.set_exception(from_status(result.status))
            if self._retired:
                self._news.set()

    async def _write(self, stream: Stream) -> None:
        try:
            while self._answers or not self._retired:
                await self._news.wait()
                self._news.clear()
                while self._orders or self._cancelled:
                    await stream.write(self._next_message())
            await stream.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the stream has ended; reading tells how

    def _next_message(self) -> pb.SessionRequest:
        size, count = 0, 0
        for order in self._orders[:_MESSAGE_ITEMS]:
            size += order.ByteSize()
            if count and size > _MESSAGE_BYTES:
                break
            count += 1
        orders, self._orders = self._orders[:count], self._orders[count:]
        cancelled: list[int] = []
        if not self._orders:  # an order must not come after its cancellation
            cancelled = self._cancelled[:_MESSAGE_ITEMS]
            self._cancelled = self._cancelled[_MESSAGE_ITEMS:]
        return pb.SessionRequest(orders=orders, cancelled=cancelled)


def _expire(answer: asyncio.Future[pb.ExecuteResponse]) -> None:
    if not answer.done():
        error: BrikkError = DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline passed")
        answer.set_exception(error)
