"""What an agent would do a unit of work for, which a handler of its own may say."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_agent.capability import Handler, members_of
from brikk_agent.errors import AgentError
from brikk_agent.shapes import Shape, record
from brikk_agent.structs import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """What an agent asks for a unit of work.

    `cost_micros` is the price in millionths of the currency that the organisation counts in,
    `time` how long it would take, `confidence` how sure it is to succeed, 0 to 1.
    """

    cost_micros: int = 0
    time: timedelta | None = None
    confidence: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bidder:
    """Makes the bids for one capability."""

    handler: Handler
    is_async: bool
    input: Shape

    @classmethod
    def of(cls, name: str, handler: Handler) -> Bidder:
        """Derives it from a handler, whose parameters are members of the input, some or all.

        Raises TypeError for a signature that cannot be expressed in JSON.
        """
        members, context_parameter = members_of(handler, name)
        if context_parameter is not None:
            raise TypeError(f"{name}: parameter {context_parameter!r}: a bid has no Context")
        return cls(
            handler=handler,
            is_async=inspect.iscoroutinefunction(handler),
            input=record(members),
        )

    async def bid(self, given: dict[str, Json], free: int) -> pb.BidResponse:
        """Asks the handler; `free` is how many calls more the agent takes now.

        Raises AgentError when it makes no bid, or none that is allowed.
        """
        arguments = self.input.read(given, "")
        assert isinstance(arguments, dict)
        if self.is_async:
            bid = await self.handler(**arguments)  # type: ignore[misc]  # a coroutine, as it is async
        else:
            bid = await asyncio.to_thread(partial(self.handler, **arguments))
        if bid is None:
            raise AgentError(
                "NO_BID",
                "The agent makes no bid",
                retryable=False,
                code=grpc.StatusCode.FAILED_PRECONDITION,
            )
        if not isinstance(bid, Bid):
            raise TypeError(f"a bid is a brikk_agent.Bid or None, not {type(bid).__name__}")
        response = pb.BidResponse(
            cost_micros=bid.cost_micros, confidence=bid.confidence, capacity=free
        )
        if bid.time is not None:
            response.estimated_time.FromTimedelta(bid.time)
        return response
