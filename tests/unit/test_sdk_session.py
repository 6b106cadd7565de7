"""An agent's side of a session: what shares a message, and what is heard while nothing is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_agent.line import Line
from brikk_agent.session import Session

REFUSAL = status_pb2.Status(code=14, message="the session ends")
LONG = timedelta(hours=1)


class Stream:
    """What a session reads and writes; a written message waits until it is taken."""

    def __init__(self) -> None:
        self.orders: asyncio.Queue[Any] = asyncio.Queue()
        self.answers: asyncio.Queue[pb.SessionResponse] = asyncio.Queue(maxsize=1)

    async def read(self) -> Any:
        return await self.orders.get()

    async def write(self, message: pb.SessionResponse) -> None:
        await self.answers.put(message)

    def order(self, *order_ids: int, heartbeat: timedelta | None = None) -> None:
        request = pb.SessionRequest()
        for order_id in order_ids:
            order = request.orders.add(order_id=order_id)
            if heartbeat is not None:
                order.heartbeat_timeout.FromTimedelta(heartbeat)
        self.orders.put_nowait(request)


class Handler:
    """Keeps what it is asked for until it is released."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.lines: list[Line] = []
        self.begun = asyncio.Semaphore(0)

    async def answer(
        self, request: pb.ExecuteRequest, seconds: float, line: Line
    ) -> pb.ExecuteResponse:
        self.lines.append(line)
        self.begun.release()
        await self.released.wait()
        return pb.ExecuteResponse()


@asynccontextmanager
async def serving(stream: Stream, handler: Handler, interval: timedelta) -> AsyncIterator[Session]:
    call: Any = stream
    session = Session(call, handler.answer, refusal=REFUSAL, interval=interval)
    task = asyncio.create_task(session.serve(3600))
    taken = await stream.answers.get()
    assert taken.interval.ToTimedelta() == interval
    assert not taken.results
    yield session
    stream.orders.put_nowait(grpc.aio.EOF)
    await task


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def handler() -> Handler:
    return Handler()


async def test_results_that_were_ready_together_share_a_message(
    stream: Stream, handler: Handler
) -> None:
    async with serving(stream, handler, LONG):
        stream.order(*range(1, 101))
        for _ in range(100):
            await handler.begun.acquire()
        handler.released.set()
        message = await stream.answers.get()
        assert sorted(each.order_id for each in message.results) == list(range(1, 101))


async def test_while_work_is_under_way_something_is_heard(stream: Stream, handler: Handler) -> None:
    async with serving(stream, handler, timedelta(milliseconds=1)):
        stream.order(1)
        for _ in range(3):
            assert await stream.answers.get() == pb.SessionResponse()
        handler.released.set()
        while not (message := await stream.answers.get()).results:
            pass
        assert [each.order_id for each in message.results] == [1]


async def test_heartbeats_of_all_calls_share_a_message(stream: Stream, handler: Handler) -> None:
    async with serving(stream, handler, LONG):
        stream.order(1, 2, heartbeat=timedelta(seconds=3))
        stream.order(3)
        for _ in range(3):
            await handler.begun.acquire()
        for line in handler.lines:
            for _ in range(10):
                line.heartbeat()
        message = await stream.answers.get()
        assert list(message.heartbeats) == [1, 2]
        handler.released.set()
        await stream.answers.get()


async def test_a_heartbeat_after_the_answer_is_not_sent(stream: Stream, handler: Handler) -> None:
    async with serving(stream, handler, LONG):
        stream.order(1, heartbeat=timedelta(seconds=3))
        await handler.begun.acquire()
        handler.released.set()
        assert (await stream.answers.get()).results
        await asyncio.to_thread(handler.lines[0].heartbeat)
        stream.order(2)
        message = await stream.answers.get()
        assert [each.order_id for each in message.results] == [2]
        assert not message.heartbeats


async def test_of_progress_the_newest_is_told_and_not_too_often(
    stream: Stream, handler: Handler
) -> None:
    async with serving(stream, handler, LONG):
        stream.order(1, 2)
        for _ in range(2):
            await handler.begun.acquire()
        for line in handler.lines:
            line.tell(0.1, "begun")
            line.tell(0.2, "p" * 300)
        message = await stream.answers.get()
        assert [each.order_id for each in message.progress] == [1, 2]
        assert {(each.fraction, each.message) for each in message.progress} == {
            (0.2, "p" * 199 + "…")
        }
        for number in range(30, 100):
            handler.lines[0].tell(number / 100, "")
        handler.lines[1].tell(1.0, "done")
        handler.released.set()
        message = await stream.answers.get()  # what has ended tells nothing more
        assert len(message.results) == 2
        assert not message.progress


async def test_the_last_word_about_progress_is_told_in_the_end(
    stream: Stream, handler: Handler
) -> None:
    async with serving(stream, handler, LONG):
        stream.order(1)
        await handler.begun.acquire()
        handler.lines[0].tell(0.5, "")
        assert (await stream.answers.get()).progress[0].fraction == 0.5
        for number in range(60, 100):
            handler.lines[0].tell(number / 100, "")
        assert [each.fraction for each in (await stream.answers.get()).progress] == [0.99]
        handler.released.set()
        await stream.answers.get()


async def test_orders_that_come_too_late_are_refused(stream: Stream, handler: Handler) -> None:
    async with serving(stream, handler, LONG) as session:
        stream.order(1)
        await handler.begun.acquire()
        session.end()
        stream.order(2)
        message = await stream.answers.get()
        assert [(each.order_id, each.status) for each in message.results] == [(2, REFUSAL)]
        handler.released.set()
        assert [each.order_id for each in (await stream.answers.get()).results] == [1]
