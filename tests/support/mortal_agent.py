"""An agent without the SDK, to be killed or frozen in the middle of a call.

`python mortal_agent.py` serves on a free port, prints it, and prints the capability of each order
that it takes. It answers `echo` and keeps what else it is asked for. While it lives it is heard
from every tenth of a second.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import (
    AgentRuntimeServiceServicer,
    add_AgentRuntimeServiceServicer_to_server,
)

INTERVAL = timedelta(milliseconds=100)


class MortalAgent(AgentRuntimeServiceServicer):
    """Serves sessions by hand."""

    async def Session(  # type: ignore[override]  # a coroutine may write instead of yielding
        self, _requests: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Takes a session."""
        taken = pb.SessionResponse()
        taken.interval.FromTimedelta(INTERVAL)
        await context.write(taken)
        reading = asyncio.ensure_future(context.read())
        while True:
            done, _ = await asyncio.wait({reading}, timeout=INTERVAL.total_seconds())
            answer = pb.SessionResponse(heartbeats=[0, 10**9])  # of orders that nobody made
            if done:
                request = reading.result()
                if request is grpc.aio.EOF:
                    return
                for order in request.orders:
                    tell(order.request.capability)
                    if order.request.capability == "echo":
                        response = pb.ExecuteResponse(output=order.request.input)
                        answer.results.add(order_id=order.order_id, response=response)
                reading = asyncio.ensure_future(context.read())
            await context.write(answer)


def tell(line: str) -> None:
    """Tell whoever started it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve for ever."""
    server = grpc.aio.server()
    kind: type[Any] = MortalAgent  # to the type checker it is abstract: Execute is not served
    add_AgentRuntimeServiceServicer_to_server(kind(), server)
    tell(str(server.add_insecure_port("127.0.0.1:0")))
    await server.start()
    await server.wait_for_termination()


class Mortal:
    """Such an agent as a process."""

    def __init__(self, process: Process, endpoint: str) -> None:
        self.process = process
        self.endpoint = endpoint

    async def next_order(self) -> str:
        """Waits for the next order and gives its capability."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().strip()


@asynccontextmanager
async def mortal_agent() -> AsyncIterator[Mortal]:
    """Starts one; it is dead at the end."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(Path(__file__)), stdout=PIPE)
    assert process.stdout is not None
    try:
        port = (await process.stdout.readline()).decode().strip()
        yield Mortal(process, f"127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
