"""Calls to agents: one unit of work, a deadline, and an answer that is always data."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2, agent_runtime_service_pb2_grpc
from brikk_shared.clock import Clock
from brikk_shared.errors import BrikkError, Reason
from brikk_shared.signing import TokenSigner
from brikk_shared.status import from_rpc_error
from brikk_shared.structs import from_struct, to_struct
from brikk_workflow.clients.session import NoSessions, Session
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json, PayloadRefused, check, scrub

TOKEN_LIFETIME = timedelta(minutes=5)
TOKEN_REUSE = timedelta(minutes=4)
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.enable_http_proxy", 0),
    # A failed attempt is data: the engine decides where and when the next one goes.
    ("grpc.enable_retries", 0),
)
MAX_AGENTS = 10_000
"""Connections kept; past that the one unused for longest is closed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One unit of work for one agent; see `brikk.agent.v1.ExecuteRequest`."""

    capability: str
    input: Mapping[str, Json]
    execution: str
    step: str
    attempt: int
    idempotency_key: str
    attempt_token: str
    traceparent: str
    timeout: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """The agent did the work."""

    output: Mapping[str, Json]
    latency: timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The agent failed, could not be reached, or ran out of time."""

    failure: Failure
    latency: timedelta


@dataclass(kw_only=True, slots=True)
class _Connection:
    channel: grpc.aio.Channel
    stub: agent_runtime_service_pb2_grpc.AgentRuntimeServiceAsyncStub
    token: str
    renew_at: float
    sessions: bool = True
    """False once the agent said that it offers none."""
    session: Session | None = None


class AgentCaller:
    """Holds a channel and a call token per agent; the token's audience is that agent alone.

    So a hostile agent gains nothing by replaying what it was sent.
    """

    def __init__(self, *, signer: TokenSigner, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock
        self._connections: OrderedDict[tuple[str, str], _Connection] = OrderedDict()
        self._sessions: set[asyncio.Task[None]] = set()

    async def call(self, agent: str, endpoint: str, work: Work) -> Answered | Refused:
        """Sends one unit of work and waits for the answer, at most `work.timeout`.

        Cancelling this cancels the call at the agent.
        """
        begin = self._clock.monotonic()
        request = agent_runtime_service_pb2.ExecuteRequest(
            capability=work.capability,
            input=to_struct(work.input),
            execution=work.execution,
            step=work.step,
            attempt=work.attempt,
            idempotency_key=work.idempotency_key,
            attempt_token=work.attempt_token,
            traceparent=work.traceparent,
        )
        connection = await self._connect(agent, endpoint)
        try:
            response = await self._execute(connection, request, work.timeout.total_seconds())
            output = from_struct(response.output)
            check(output, "output")
        except BrikkError as error:
            failure = _of_answer(error, agent)
            return Refused(failure=failure, latency=self._since(begin))
        except PayloadRefused as refused:
            failure = Failure(
                code="INTERNAL",
                reason=Reason.AGENT_FAILED,
                message=f"{agent} answered what cannot be kept: {refused.message}",
                metadata={"agent": agent},
                retryable=True,
            )
            return Refused(failure=failure, latency=self._since(begin))
        return Answered(output=output, latency=self._since(begin))

    async def aclose(self) -> None:
        """Closes every channel, which ends its session."""
        connections, self._connections = self._connections, OrderedDict()
        await asyncio.gather(*(each.channel.close() for each in connections.values()))
        if self._sessions:
            await asyncio.wait(self._sessions)

    async def _execute(
        self,
        connection: _Connection,
        request: agent_runtime_service_pb2.ExecuteRequest,
        seconds: float,
    ) -> agent_runtime_service_pb2.ExecuteResponse:
        if connection.sessions:
            try:
                return await self._session(connection).call(request, seconds)
            except NoSessions:
                connection.sessions = False
        try:
            return await connection.stub.Execute(
                request, timeout=seconds, metadata=_bearer(connection)
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def _session(self, connection: _Connection) -> Session:
        session = connection.session
        if session is None or session.ended.done():
            session = connection.session = Session(
                lambda: connection.stub.Session(metadata=_bearer(connection))
            )
            self._sessions.add(session.ended)
            session.ended.add_done_callback(self._sessions.discard)
        return session

    async def _connect(self, agent: str, endpoint: str) -> _Connection:
        key = (agent, endpoint)
        now = self._clock.monotonic()
        connection = self._connections.get(key)
        if connection is None:
            channel = grpc.aio.insecure_channel(endpoint, _CHANNEL_OPTIONS)
            stub = agent_runtime_service_pb2_grpc.AgentRuntimeServiceStub(channel)
            connection = self._connections[key] = _Connection(
                channel=channel, stub=stub, token="", renew_at=now
            )
            if len(self._connections) > MAX_AGENTS:
                _, oldest = self._connections.popitem(last=False)
                if oldest.session is not None:
                    oldest.session.retire()
                await oldest.channel.close(grace=TOKEN_LIFETIME.total_seconds())
        self._connections.move_to_end(key)
        if connection.renew_at <= now:
            connection.token = self._signer.mint(
                subject="brikk.workflow", scopes=(), audience=agent, lifetime=TOKEN_LIFETIME
            )
            connection.renew_at = now + TOKEN_REUSE.total_seconds()
            if connection.session is not None:
                connection.session.retire()
                connection.session = None
        return connection

    def _since(self, begin: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - begin)


def _bearer(connection: _Connection) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {connection.token}"),)


def _of_answer(error: BrikkError, agent: str) -> Failure:
    """Tells what an agent said apart from what gRPC made of its silence."""
    metadata = {**error.metadata, "agent": agent}
    spoke = "reason" in metadata or "retryable" in metadata
    if error.code == "DEADLINE_EXCEEDED" and not spoke:
        return Failure(
            code=error.code,
            reason=Reason.STEP_TIMEOUT,
            message=f"{agent} did not answer within start_to_close",
            metadata={"agent": agent, "timeout": "start_to_close"},
            retryable=True,
        )
    if error.code == "UNAVAILABLE" and not spoke:
        return Failure(
            code=error.code,
            reason=Reason.AGENT_UNAVAILABLE,
            message=f"{agent} could not be reached: {scrub(error.message)}",
            metadata={"agent": agent},
            retryable=True,
        )
    said = metadata.pop("retryable", "")
    metadata["agent_reason"] = metadata.pop("reason", "")
    return Failure(
        code=error.code,
        reason=Reason.AGENT_FAILED,
        message=scrub(error.message),
        metadata={key: scrub(value) for key, value in metadata.items() if value},
        retryable=said == "true" if said else None,
    )
