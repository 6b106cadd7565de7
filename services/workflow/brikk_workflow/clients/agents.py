"""Calls to agents: one unit of work, a deadline, and an answer that is always data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.clock import Clock
from brikk_shared.egress import Egress
from brikk_shared.errors import BrikkError
from brikk_shared.selection import Option
from brikk_shared.signing import TokenSigner
from brikk_shared.status import status_of
from brikk_workflow.clients.answers import outcome_of_error, outcome_of_response, outcome_of_status
from brikk_workflow.clients.bids import ask_bid
from brikk_workflow.clients.connections import Connection, Connections
from brikk_workflow.clients.contracts import input_mismatch
from brikk_workflow.clients.requests import fill_request
from brikk_workflow.clients.session import NoSessions, Session
from brikk_workflow.clients.work import Outcome, Progress, Refused, Work
from brikk_workflow.domain.decision import AskBids, Bid
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.usage import NO_USAGE

_SILENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


class AgentCaller:
    """Calls agents over the connections it keeps."""

    def __init__(self, *, egress: Egress, signer: TokenSigner, clock: Clock) -> None:
        self._clock = clock
        self._connections = Connections(egress=egress, signer=signer, clock=clock)

    def call(
        self,
        agent: str,
        endpoint: str,
        work: Work,
        done: Callable[[Outcome], None],
        told: Callable[[Progress], None],
    ) -> Ongoing:
        """Sends one unit of work; `done` is told what became of it in its time: later, and once.

        `told` hears of its progress until then, from agents that offer sessions.
        """
        call = Ongoing(self._connections, self._clock, agent, work, done, told)
        call.begin(endpoint)
        return call

    async def bid(
        self, option: Option, order: AskBids, *, execution: str, traceparent: str
    ) -> Bid | None:
        """Asks one agent for its bid; None when it makes none in time."""
        return await ask_bid(
            self._connections, option, order, execution=execution, traceparent=traceparent
        )

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._connections.aclose()


class Ongoing:
    """A call under way until `done` is told, or it is cancelled. In a session it needs no task."""

    __slots__ = (
        "_agent",
        "_begin",
        "_clock",
        "_connection",
        "_connections",
        "_done",
        "_ended",
        "_order_id",
        "_session",
        "_task",
        "_told",
        "_work",
    )

    def __init__(
        self,
        connections: Connections,
        clock: Clock,
        agent: str,
        work: Work,
        done: Callable[[Outcome], None],
        told: Callable[[Progress], None],
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._agent = agent
        self._work = work
        self._done = done
        self._told = told
        self._begin = clock.monotonic()
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._order_id = 0
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, endpoint: str) -> None:
        """Sends it, at once where the way is known, unless the agent would not take the input."""
        mismatch = input_mismatch(self._work, self._agent)
        if mismatch is not None:
            # Not at once: whoever made the call does not hold it yet.
            asyncio.get_running_loop().call_soon(self._refuse, mismatch)
            return
        connection = self._connections.known(self._agent, endpoint)
        if connection is None:
            self._task = self._connections.keep(self._find_way(endpoint))
        else:
            self._go(connection)

    def cancel(self) -> None:
        """Gives it up, here and at the agent; `done` is not called any more."""
        if self._ended:
            return
        if self._task is not None:
            self._task.cancel()
        if self._session is not None:
            self._session.cancel(self._order_id)
        self._leave()

    def _refuse(self, mismatch: Failure) -> None:
        if not self._ended:
            self._end(Refused(failure=mismatch, usage=NO_USAGE, latency=self._elapsed()))

    async def _find_way(self, endpoint: str) -> None:
        try:
            connection = await self._connections.to(self._agent, endpoint, self._work.order.timeout)
        except BrikkError as error:
            self._end(outcome_of_error(error, self._agent, self._elapsed()))
        else:
            self._go(connection)

    def _go(self, connection: Connection) -> None:
        self._connection = connection
        connection.calls += 1
        if not connection.sessions:
            self._task = self._connections.keep(self._execute(connection))
            return
        session = self._connections.session(connection)
        try:
            self._order_id = session.begin(self._work, self._left(), self._settle, self._told)
        except BrikkError as error:
            # Not at once: whoever made the call does not hold it yet.
            asyncio.get_running_loop().call_soon(self._settle, error)
        else:
            self._session = session

    def _settle(self, result: pb.SessionResult | BrikkError | NoSessions) -> None:
        if self._ended:
            return
        self._session = None
        if isinstance(result, pb.SessionResult):
            if result.HasField("response"):
                self._take(result.response)
            else:
                self._end(outcome_of_status(result.status, self._agent, self._elapsed()))
        elif isinstance(result, BrikkError):
            self._end(outcome_of_error(result, self._agent, self._elapsed()))
        else:
            assert self._connection is not None  # the session is one of its
            self._connection.sessions = False
            self._task = self._connections.keep(self._execute(self._connection))

    async def _execute(self, connection: Connection) -> None:
        request = pb.ExecuteRequest()
        try:
            fill_request(request, self._work)
            response = await connection.stub.Execute(
                request, timeout=self._left(), metadata=connection.bearer
            )
        except BrikkError as error:
            self._end(outcome_of_error(error, self._agent, self._elapsed()))
        except grpc.aio.AioRpcError as error:
            self._end(outcome_of_status(status_of(error), self._agent, self._elapsed()))
        else:
            self._take(response)

    def _take(self, response: pb.ExecuteResponse) -> None:
        self._end(outcome_of_response(response, self._work, self._agent, self._elapsed()))

    def _end(self, outcome: Outcome) -> None:
        silent = isinstance(outcome, Refused) and outcome.failure.code in _SILENT
        if silent and self._connection is not None:
            self._connection.silent = True
        self._leave()
        self._done(outcome)

    def _leave(self) -> None:
        self._ended = True
        if self._connection is not None:
            self._connections.leave(self._connection)

    def _elapsed(self) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - self._begin)

    def _left(self) -> float:
        elapsed = self._clock.monotonic() - self._begin
        return max(0.0, self._work.order.timeout.total_seconds() - elapsed)
