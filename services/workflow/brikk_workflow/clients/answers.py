"""From what agents answer to what the engine keeps: nothing they send is trusted."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as pb
from brikk_shared.errors import BrikkError, DeadlineExceeded, Reason
from brikk_shared.status import from_status
from brikk_shared.structs import read_struct
from brikk_workflow.clients.contracts import output_mismatch
from brikk_workflow.clients.work import Answered, Outcome, Refused, Work
from brikk_workflow.domain.failure import Failure
from brikk_workflow.domain.payload import MAX_BYTES, scrub
from brikk_workflow.domain.usage import NO_USAGE, Usage

# As the contract bounds it.
_MAX_USAGE = 10**12


class HeartbeatMissed(DeadlineExceeded):
    """An agent gave no sign of life of a call for as long as its step allows."""

    def __init__(self) -> None:
        super().__init__(Reason.STEP_TIMEOUT, "no heartbeat came in time")


def outcome_of_response(
    response: pb.ExecuteResponse, work: Work, agent: str, latency: timedelta
) -> Outcome:
    """What an answer comes to: refused when it holds what cannot be kept, or was not promised."""
    usage = _usage(response.usage) if response.HasField("usage") else NO_USAGE
    if usage is None:
        return _unkept("usage has a number that is negative or too large", agent, latency)
    if response.output.ByteSize() > MAX_BYTES:
        return _unkept("output is too large", agent, latency)
    try:
        output = read_struct(response.output, field="output")
    except BrikkError as refused:
        return _unkept(refused.message, agent, latency)
    mismatch = output_mismatch(work, agent, output)
    if mismatch is not None:
        return Refused(failure=mismatch, usage=usage, latency=latency)
    return Answered(output=output, usage=usage, latency=latency)


def outcome_of_status(status: status_pb2.Status, agent: str, latency: timedelta) -> Outcome:
    """What an agent's failure comes to; usage that breaks the contract counts for nothing."""
    return outcome_of_error(from_status(status), agent, latency, usage=_usage_in(status))


def outcome_of_error(
    error: BrikkError, agent: str, latency: timedelta, *, usage: Usage = NO_USAGE
) -> Refused:
    """What a failed call comes to."""
    return Refused(failure=_failure(error, agent), usage=usage, latency=latency)


def _usage(used: pb.Usage) -> Usage | None:
    if not (0 <= used.tokens <= _MAX_USAGE and 0 <= used.cost_micros <= _MAX_USAGE):
        return None
    return Usage(tokens=used.tokens, cost_micros=used.cost_micros)


def _usage_in(status: status_pb2.Status) -> Usage:
    used = pb.Usage()
    for detail in status.details:
        try:
            if detail.Unpack(used):
                return _usage(used) or NO_USAGE
        except DecodeError:
            break
    return NO_USAGE


def _unkept(problem: str, agent: str, latency: timedelta) -> Refused:
    failure = Failure(
        code="INTERNAL",
        reason=Reason.AGENT_FAILED,
        message=f"{agent} answered what cannot be kept: {problem}",
        metadata={"agent": agent},
        retryable=True,
    )
    return Refused(failure=failure, usage=NO_USAGE, latency=latency)


def _failure(error: BrikkError, agent: str) -> Failure:
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
        limit, lack = "start_to_close", "did not answer"
        if isinstance(error, HeartbeatMissed):
            limit, lack = "heartbeat", "gave no sign of life"
        return Failure(
            code=error.code,
            reason=Reason.STEP_TIMEOUT,
            message=f"{agent} {lack} within {limit}",
            metadata={"agent": agent, "timeout": limit},
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
