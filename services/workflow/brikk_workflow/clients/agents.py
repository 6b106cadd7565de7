"""Calls to agents: one unit of work, a deadline, and an answer that is always data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import grpc

from brikk.agent.v1 import agent_runtime_service_pb2
from brikk_shared.clock import Clock
from brikk_shared.egress import Egress
from brikk_shared.errors import BrikkError, DeadlineExceeded, Reason, Unavailable
from brikk_shared.signing import TokenSigner
from brikk_shared.status import from_rpc_error
from brikk_shared.structs import from_struct, to_struct
from brikk_workflow.clients.connections import Connection, Connections
from brikk_workflow.clients.session import NoSessions
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import Json, PayloadRefused, check, scrub


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


class AgentCaller:
    """Calls agents over the connections it keeps."""

    def __init__(self, *, egress: Egress, signer: TokenSigner, clock: Clock) -> None:
        self._clock = clock
        self._connections = Connections(egress=egress, signer=signer, clock=clock)

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
        try:
            connection = await self._connections.to(agent, endpoint, work.timeout)
            left = work.timeout - self._since(begin)
            response = await self._send(connection, request, left.total_seconds())
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
        """Closes every connection."""
        await self._connections.aclose()

    async def _send(
        self,
        connection: Connection,
        request: agent_runtime_service_pb2.ExecuteRequest,
        seconds: float,
    ) -> agent_runtime_service_pb2.ExecuteResponse:
        connection.calls += 1
        try:
            return await self._execute(connection, request, seconds)
        except (Unavailable, DeadlineExceeded):
            connection.silent = True
            raise
        finally:
            connection.calls -= 1
            if connection.retired and not connection.calls:
                await connection.channel.close()

    async def _execute(
        self,
        connection: Connection,
        request: agent_runtime_service_pb2.ExecuteRequest,
        seconds: float,
    ) -> agent_runtime_service_pb2.ExecuteResponse:
        if connection.sessions:
            try:
                return await self._connections.session(connection).call(request, seconds)
            except NoSessions:
                connection.sessions = False
        try:
            return await connection.stub.Execute(
                request, timeout=seconds, metadata=connection.bearer
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def _since(self, begin: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - begin)


def _of_answer(error: BrikkError, agent: str) -> Failure:
    """Tells what an agent said from what gRPC made of its silence, and from our own refusal."""
    metadata = {**error.metadata, "agent": agent}
    spoke = "reason" in metadata or "retryable" in metadata
    if error.reason is Reason.ADDRESS_REFUSED and not spoke:
        return Failure(
            code=error.code,
            reason=error.reason,
            message=f"{agent}: {error.message}",
            metadata=metadata,
            retryable=True,  # at another agent; one bad address must not fail the step
        )
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
