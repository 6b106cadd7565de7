"""A caller's side of a session: which words about progress it heeds."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_workflow.clients.session import Session
from brikk_workflow.clients.work import Progress
from support.calling import work


class Stream:
    """An agent's end of a stream: it says what the test puts in, and then nothing more."""

    def __init__(self, *said: pb.SessionResponse) -> None:
        self._said = [pb.SessionResponse(), *said]

    async def read(self) -> Any:
        return self._said.pop(0) if self._said else grpc.aio.EOF

    async def write(self, _: pb.SessionRequest) -> None:
        pass

    async def done_writing(self) -> None:
        pass

    def cancel(self) -> None:
        pass


def told(order_id: int, fraction: float) -> pb.SessionResponse:
    progress = pb.SessionProgress(order_id=order_id, fraction=fraction, message="m")
    return pb.SessionResponse(progress=[progress])


@pytest.mark.parametrize(
    ("order_id", "fraction", "heard"),
    [
        (1, 0.0, True),
        (1, 1.0, True),
        (1, 1.5, False),
        (1, -0.5, False),
        (1, float("nan"), False),
        (2, 0.5, False),
        (-1, 0.5, False),
    ],
)
async def test_only_sound_words_about_calls_under_way_are_heard(
    order_id: int, fraction: float, heard: bool
) -> None:
    result = pb.SessionResult(order_id=1, response=pb.ExecuteResponse())
    ended = told(1, 0.9)  # after the result it is of no interest
    stream: Any = Stream(told(order_id, fraction), pb.SessionResponse(results=[result]), ended)
    session = Session(lambda: stream)
    settled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    words: list[Progress] = []
    session.begin(work("text.one", {}), 30, settled.set_result, words.append)
    assert await settled == result
    await session.ended
    assert words == [Progress(fraction=fraction, message="m")] * heard
