"""The service that an agent implements: each call is admitted, bound, handled and answered here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
from grpc_status import rpc_status

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk.agent.v1.agent_runtime_service_pb2_grpc import AgentRuntimeServiceServicer
from brikk_agent.bids import Bidder
from brikk_agent.capability import Capability
from brikk_agent.context import Context
from brikk_agent.errors import AgentError, clean, status_of
from brikk_agent.line import NOTHING, Line
from brikk_agent.session import Outcome, Session
from brikk_agent.structs import Unrepresentable, fill_struct, from_struct
from brikk_agent.tokens import CallTokens

log = logging.getLogger(__name__)

Call = grpc.aio.ServicerContext[Any, Any]

_ENDING = AgentError(
    "SESSION_ENDING",
    "The agent drains, or the caller's token has expired",
    retryable=True,
    code=grpc.StatusCode.UNAVAILABLE,
)
_UNLIMITED = 86_400.0
"""Seconds that a session lasts whose caller shows no token."""
_INTERVAL = timedelta(seconds=15)
"""How often a caller hears of a session with work under way: thrice as long, and it gives it up."""
_MODEL_LIMIT = 128


class Runtime(AgentRuntimeServiceServicer):
    """Serves the capabilities of one agent, `capacity` calls at once.

    Synchronous handlers run in threads. One whose caller has gone runs on, since a thread cannot be
    stopped, and holds its place until it returns. Without `tokens` every caller is served.
    """

    def __init__(
        self,
        *,
        domain: str,
        capabilities: Mapping[str, Capability],
        bidders: Mapping[str, Bidder],
        capacity: int,
        tokens: CallTokens | None,
    ) -> None:
        self._domain = domain
        self._capabilities = capabilities
        self._bidders = bidders
        self._capacity = capacity
        self._tokens = tokens
        self._threads = ThreadPoolExecutor(capacity, thread_name_prefix=domain)
        self._idle = asyncio.Event()
        self._idle.set()
        self._sessions: set[Session] = set()
        self._draining = False
        self.in_flight = 0

    def drain(self) -> None:
        """Takes no more work from sessions; those under way end."""
        self._draining = True
        for session in self._sessions:
            session.end()

    async def idle(self) -> None:
        """Returns when no handler runs."""
        await self._idle.wait()

    def close(self) -> None:
        """Lets the threads go; handlers that still run are left behind."""
        self._threads.shutdown(wait=False)

    async def Execute(self, request: pb.ExecuteRequest, context: Call) -> pb.ExecuteResponse:
        """Does one unit of work; every failure becomes a status with ErrorInfo."""
        await self._admit(context)
        outcome = await self._answer(request, context.time_remaining(), Line())
        if isinstance(outcome, pb.ExecuteResponse):
            return outcome
        return await context.abort_with_status(rpc_status.to_status(outcome))

    async def Bid(self, request: pb.BidRequest, context: Call) -> pb.BidResponse:
        """Says what a unit of work would cost; what goes wrong there is no bid."""
        await self._admit(context)
        bidder = self._bidders.get(request.capability)
        if bidder is None:
            return await context.abort(grpc.StatusCode.UNIMPLEMENTED, "it bids what it registered")
        try:
            free = max(0, self._capacity - self.in_flight)
            return await bidder.bid(from_struct(request.input), free)
        except AgentError as error:
            failure = error
        except Exception as error:  # of a foreign function, which may raise anything
            log.exception("no bid for %s", request.capability)
            failure = _raised(request.capability, error)
        status = status_of(failure, domain=self._domain)
        return await context.abort_with_status(rpc_status.to_status(status))

    async def Session(  # type: ignore[override]  # a coroutine may write instead of yielding
        self, _requests: object, context: Call
    ) -> None:
        """Does many units of work; their failures are results like others."""
        lifetime = await self._admit(context)
        session = Session(
            context,
            self._answer,
            refusal=status_of(_ENDING, domain=self._domain),
            interval=_INTERVAL,
        )
        if self._draining:
            session.end()
        self._sessions.add(session)
        try:
            await session.serve(lifetime)
        finally:
            self._sessions.discard(session)

    async def _admit(self, context: Call) -> float:
        """Gives how many seconds the caller's token holds, or ends the call without a good one."""
        if self._tokens is None:
            return _UNLIMITED
        try:
            return await self._tokens.check(context.invocation_metadata() or ())
        except AgentError as error:
            status = status_of(error, domain=self._domain)
            return await context.abort_with_status(rpc_status.to_status(status))

    async def _answer(
        self, request: pb.ExecuteRequest, remaining: float | None, line: Line
    ) -> Outcome:
        try:
            return await self._execute(request, remaining, line)
        except asyncio.CancelledError as error:
            if _is_cancelled():
                line.cancelled = True
                raise
            log.exception("%s waited for what was cancelled", request.capability)
            refusal = _raised(request.capability, error)
        except AgentError as error:
            refusal = error
        except Unrepresentable as error:
            log.exception("%s returned what cannot be sent", request.capability)
            refusal = AgentError(
                "INVALID_OUTPUT", str(error), retryable=True, code=grpc.StatusCode.INTERNAL
            )
        except Exception as error:
            log.exception("%s failed", request.capability)
            refusal = _raised(request.capability, error)
        return status_of(refusal, domain=self._domain, usage=_usage(line))

    async def _execute(
        self, request: pb.ExecuteRequest, remaining: float | None, line: Line
    ) -> pb.ExecuteResponse:
        capability = self._capabilities.get(request.capability)
        if capability is None:
            raise AgentError(
                "UNKNOWN_CAPABILITY",
                f"This agent does not offer {request.capability!r}",
                retryable=False,
                metadata={"capability": request.capability},
                code=grpc.StatusCode.UNIMPLEMENTED,
            )
        if self.in_flight >= self._capacity:
            raise AgentError(
                "OVER_CAPACITY",
                f"The agent is at work on {self.in_flight} calls, as many as it takes",
                retryable=True,
                metadata={"capacity": str(self._capacity)},
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            )
        context = _context(request, remaining, line)
        arguments = capability.arguments(from_struct(request.input), context)
        output = await self._run(capability, arguments)
        response = pb.ExecuteResponse(usage=_usage(line))
        fill_struct(response.output, output, name="output")
        return response

    async def _run(self, capability: Capability, arguments: dict[str, object]) -> object:
        self._enter()
        if capability.is_async:
            try:
                outcome = capability.handler(**arguments)
                assert isinstance(outcome, Awaitable)
                return await outcome
            finally:
                self._leave()
        handle = partial(_without_stop_iteration, capability, arguments)
        work = asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, handle)
        work.add_done_callback(lambda _: self._leave())
        return await asyncio.shield(work)

    def _enter(self) -> None:
        self.in_flight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self._idle.set()


def _context(request: pb.ExecuteRequest, remaining: float | None, line: Line) -> Context:
    return Context(
        capability=request.capability,
        execution=request.execution,
        step=request.step,
        attempt=request.attempt,
        idempotency_key=request.idempotency_key,
        traceparent=request.traceparent,
        ends=None if remaining is None else time.monotonic() + remaining,
        line=line,
    )


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raised(capability: str, error: BaseException) -> AgentError:
    # The text of a foreign exception may hold anything; it stays in the agent's log.
    return AgentError(
        "HANDLER_FAILED",
        f"{capability} raised {type(error).__name__}; see the agent's log",
        retryable=True,
        metadata={"exception": type(error).__name__},
        code=grpc.StatusCode.INTERNAL,
    )


def _usage(line: Line) -> pb.Usage | None:
    used = line.usage
    if used is NOTHING:
        return None
    return pb.Usage(
        tokens=used.tokens,
        cost_micros=used.cost_micros,
        model=clean(used.model, _MODEL_LIMIT),
    )


def _without_stop_iteration(capability: Capability, arguments: dict[str, object]) -> object:
    # A future cannot hold a StopIteration: the call would never be answered.
    try:
        return capability.handler(**arguments)
    except StopIteration as error:
        raise RuntimeError("StopIteration") from error
