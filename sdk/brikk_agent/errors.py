"""The errors an agent answers with, and their one translation into a gRPC status."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import grpc
from google.rpc import error_details_pb2, status_pb2

from brikk.agent.v1 import agent_runtime_service_pb2 as pb

# A status travels in HTTP/2 trailers, which peers refuse beyond 8 KiB, its message twice.
_MESSAGE_LIMIT = 1_000
_METADATA_LIMIT = 16
_METADATA_TEXT_LIMIT = 100


class AgentError(Exception):
    """A failure that a handler raises on purpose.

    The caller receives `reason`, `message` and `metadata` as they are. `reason` is stable and in
    UPPER_SNAKE_CASE, so that a workflow's retry policy can name it. `retryable` says whether
    another attempt may help. The gRPC code is ABORTED when it may and FAILED_PRECONDITION when it
    may not, unless `code` says better.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retryable: bool,
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.metadata = dict(metadata or {})
        # Not UNAVAILABLE: channels repeat that by themselves, and retries belong to one level.
        self.code = code or (
            grpc.StatusCode.ABORTED if retryable else grpc.StatusCode.FAILED_PRECONDITION
        )


class Retryable(AgentError):
    """A failure that may pass: the workflow tries again by the step's retry policy."""

    def __init__(
        self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, message, retryable=True, metadata=metadata)


class NotRetryable(AgentError):
    """A failure that another attempt would only repeat: the step fails at once."""

    def __init__(
        self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason, message, retryable=False, metadata=metadata)


class InvalidInput(AgentError):
    """The input is not what the capability takes; `field` is the path of what is wrong in it."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(
            "INVALID_INPUT",
            f"{field}: {description}",
            retryable=False,
            metadata={"field": field},
            code=grpc.StatusCode.INVALID_ARGUMENT,
        )
        self.field = field
        self.description = description


class CallCancelled(Exception):
    """Nobody waits for the call's result any more: it took too long, or the workflow ended."""


class CannotStart(Exception):
    """The agent cannot run as it is set up; the message says what to change."""


def status_of(
    error: AgentError, *, domain: str, usage: pb.Usage | None = None
) -> status_pb2.Status:
    """Translates an error into a status with ErrorInfo, and BadRequest when a field is wrong.

    `domain` is whose reasons these are: the agent's name. `usage` is what the call used up before
    it failed. Text that protobuf or HTTP/2 would not carry is escaped or cut, so that reporting an
    error cannot fail.
    """
    value = error.code.value
    status = status_pb2.Status(code=value[0], message=clean(error.message, _MESSAGE_LIMIT))
    info = error_details_pb2.ErrorInfo(reason=clean(error.reason, 63), domain=domain)
    for key, text in islice(error.metadata.items(), _METADATA_LIMIT):
        info.metadata[clean(key, 64)] = clean(str(text), _METADATA_TEXT_LIMIT)
    info.metadata["retryable"] = "true" if error.retryable else "false"
    status.details.add().Pack(info)
    if isinstance(error, InvalidInput):
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(
            field=clean(error.field, _METADATA_TEXT_LIMIT),
            description=clean(error.description, _MESSAGE_LIMIT),
        )
        status.details.add().Pack(bad_request)
    if usage is not None:
        status.details.add().Pack(usage)
    return status


def clean(text: str, limit: int) -> str:
    """Text that protobuf and HTTP/2 carry, of at most so many characters."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
