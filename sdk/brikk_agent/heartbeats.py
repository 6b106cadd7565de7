"""The stream on which the agents of a process beat: it costs the registry a third of calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import grpc

from brikk.discovery.v1 import discovery_service_pb2 as pb

_Stream: TypeAlias = grpc.aio.StreamStreamCall[pb.HeartbeatRequest, pb.HeartbeatResponse]

_PATIENCE_SECONDS = 5.0


class Heartbeats:
    """Sends heartbeats on a stream, which is opened for the first and anew when it has ended.

    One that is not answered in time is given up, with its stream: behind it may be nobody.
    """

    def __init__(self, open_stream: Callable[[], _Stream]) -> None:
        self._open = open_stream
        self._stream: _Stream | None = None
        # Answers come in the order of the requests, and one at a time is all that is needed.
        self._turn = asyncio.Lock()

    async def send(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Sends beats and gives their answer; what fails is raised as AioRpcError."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), self._turn:
                answer = await self._exchange(request)
        except TimeoutError:
            raise _failure(grpc.StatusCode.DEADLINE_EXCEEDED, "it did not answer") from None
        if not isinstance(answer, pb.HeartbeatResponse):
            raise _failure(grpc.StatusCode.UNAVAILABLE, "it ended the stream")
        return answer

    async def finish(self) -> None:
        """Tells the registry that no more will come."""
        if self._stream is not None and not self._stream.done():
            # It may be broken without that being known here yet.
            with suppress(grpc.aio.InternalError):
                await self._stream.done_writing()

    async def _exchange(self, request: pb.HeartbeatRequest) -> object:
        if self._stream is None or self._stream.done():
            self._stream = self._open()
        stream = self._stream
        try:
            await stream.write(request)
            return await stream.read()
        except asyncio.CancelledError:
            # Its answer may come yet, and would be taken for that of the next.
            stream.cancel()
            raise


def _failure(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)
