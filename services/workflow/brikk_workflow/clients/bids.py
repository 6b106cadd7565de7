"""What agents bid for work: as they say when they are asked, or else as they registered."""

from __future__ import annotations

import asyncio
from math import isfinite

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.errors import BrikkError
from brikk_shared.selection import Option
from brikk_shared.structs import fill_struct
from brikk_workflow.clients.connections import Connections
from brikk_workflow.domain.decision import AskBids, Bid

# As the contract bounds it.
_MAX_MICROS = 10**12
_MAX_SECONDS = 31_536_000
_MAX_CAPACITY = 100_000


async def ask_bid(
    connections: Connections, option: Option, order: AskBids, *, execution: str, traceparent: str
) -> Bid | None:
    """Asks one agent; None when it makes no bid that holds, or none in time."""
    request = pb.BidRequest(
        capability=order.capability,
        execution=execution,
        step=order.step_id,
        traceparent=traceparent,
    )
    try:
        async with asyncio.timeout(order.timeout.total_seconds()):
            fill_struct(request.input, order.input)
            connection = await connections.to(option.agent, option.endpoint, order.timeout)
            connection.calls += 1
            try:
                response = await connection.stub.Bid(
                    request,
                    timeout=order.timeout.total_seconds(),
                    metadata=connection.bearer,
                )
            finally:
                connections.leave(connection)
    except grpc.aio.AioRpcError as error:
        return _registered(option) if error.code() is grpc.StatusCode.UNIMPLEMENTED else None
    except (BrikkError, TimeoutError):
        return None
    return _read(response, option.agent)


def _registered(option: Option) -> Bid:
    seen = option.observation
    return Bid(
        agent=option.agent,
        cost_micros=option.cost_micros,
        seconds=None if option.latency is None else option.latency.total_seconds(),
        confidence=1.0 if seen is None else seen.success_rate,
        capacity=max(0, option.capacity - option.in_flight),
    )


def _read(response: pb.BidResponse, agent: str) -> Bid | None:
    """Takes a bid for what it says; one that breaks the contract is none."""
    seconds = None
    if response.HasField("estimated_time"):
        seconds = response.estimated_time.seconds + response.estimated_time.nanos / 1e9
    confidence = response.confidence if response.HasField("confidence") else 1.0
    holds = (
        0 <= response.cost_micros <= _MAX_MICROS
        and (seconds is None or 0 <= seconds <= _MAX_SECONDS)
        and isfinite(confidence)
        and 0 <= confidence <= 1
        and 0 <= response.capacity <= _MAX_CAPACITY
    )
    if not holds:
        return None
    return Bid(
        agent=agent,
        cost_micros=response.cost_micros,
        seconds=seconds,
        confidence=confidence,
        capacity=response.capacity,
    )
