"""A receiver of events that is exact about its marks, and fails as a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import grpc

from brikk.event.v1.event_pb2 import Event
from brikk.event.v1.event_service_pb2 import PublishRequest, PublishResponse
from brikk_shared.errors import BrikkError
from brikk_shared.event import make_event
from brikk_shared.status import to_status

Hook = Callable[[PublishRequest], Awaitable[None]]


async def nothing(_: PublishRequest) -> None:
    """Let everything pass."""


class Inbox:
    """Takes what is above the mark, in order.

    `before` and `after` are called around the effect of each batch; a BrikkError that they raise is
    the answer, as it comes out of a channel.
    """

    def __init__(self) -> None:
        self.effects: list[Event] = []
        self.requests: list[PublishRequest] = []
        self.marks: dict[tuple[str, str, int], int] = {}
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.forgetful = False  # whether it answers and takes nothing
        self._changed = asyncio.Event()

    async def publish(self, serialized: bytes) -> PublishResponse:
        """Be `brikk_shared.relays.publisher`."""
        request = PublishRequest.FromString(serialized)
        self.requests.append(request)
        self._changed.set()
        try:
            return await self._take(request)
        except BrikkError as error:
            details = ("grpc-status-details-bin", to_status(error).SerializeToString())
            raise grpc.aio.AioRpcError(
                grpc.StatusCode[error.code],
                initial_metadata=grpc.aio.Metadata(),
                trailing_metadata=grpc.aio.Metadata(details),
                details=error.message,
            ) from error

    async def _take(self, request: PublishRequest) -> PublishResponse:
        await self.before(request)
        stream = (request.producer, request.generation, request.shard)
        mark = self.marks.get(stream, 0)
        for item in request.items:
            if item.position > mark and not self.forgetful:
                self.effects.append(item.event)
                mark = item.position
        if request.items:
            self.marks[stream] = mark
        self._changed.set()
        await self.after(request)
        return PublishResponse(mark=mark)

    @property
    def sequences(self) -> list[int]:
        """The sequence numbers of the events, in the order of their effects."""
        return [event.sequence for event in self.effects]

    @property
    def batches(self) -> list[list[int]]:
        """The positions of each batch that was sent, without the questions for the mark."""
        return [[item.position for item in each.items] for each in self.requests if each.items]

    async def until(self, count: int) -> None:
        """Wait until so many events have had their effect."""
        while len(self.effects) < count:
            self._changed.clear()
            await self._changed.wait()

    async def sent(self, count: int) -> None:
        """Wait until so many batches were sent, whatever became of them."""
        while len(self.batches) < count:
            self._changed.clear()
            await self._changed.wait()


def event(sequence: int, subject: str = "executions/x", **data: object) -> Event:
    """Make an event of the workflow service."""
    return make_event(
        source="brikk.workflow",
        type="brikk.execution.started.v1",
        subject=subject,
        organization="acme",
        sequence=sequence,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=data,
    )
