"""The errors of the domain, raised anywhere; `brikk_shared.status` alone makes gRPC of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, auto
from types import MappingProxyType
from typing import ClassVar


class Reason(StrEnum):
    """Why a call or a step failed: the values of `brikk.error.v1.ErrorReason`, described there."""

    @staticmethod
    def _generate_next_value_(name: str, *_: object) -> str:
        return name

    INVALID_FIELD = auto()
    UNDECODABLE_REQUEST = auto()
    INVALID_PAGE_TOKEN = auto()
    INVALID_WORKFLOW = auto()
    INVALID_INPUT = auto()
    RESOURCE_NOT_FOUND = auto()
    RESOURCE_EXISTS = auto()
    ETAG_MISMATCH = auto()
    REQUEST_ID_REUSED = auto()
    TOKEN_MISSING = auto()
    TOKEN_INVALID = auto()
    SCOPE_MISSING = auto()
    RATE_LIMITED = auto()
    QUOTA_EXCEEDED = auto()
    REREGISTER = auto()
    NO_AGENT = auto()
    STEP_TIMEOUT = auto()
    EXECUTION_TIMEOUT = auto()
    AGENT_FAILED = auto()
    AGENT_UNAVAILABLE = auto()
    EXPRESSION_FAILED = auto()
    CANCELLED = auto()
    STEP_FAILED = auto()
    DEPENDENCY_UNAVAILABLE = auto()
    SHUTTING_DOWN = auto()
    INTERNAL = auto()
    DEADLINE_EXCEEDED = auto()
    UNIMPLEMENTED = auto()
    WRONG_STATE = auto()
    EVENT_IN_FUTURE = auto()
    PAYLOAD_TOO_LARGE = auto()
    LEASE_SUPERSEDED = auto()
    ADDRESS_REFUSED = auto()
    BUDGET_EXCEEDED = auto()
    OUTCOME_UNKNOWN = auto()
    FAIL_STEP = auto()
    LOOP_LIMIT = auto()
    SIGNAL_TIMEOUT = auto()
    STATE_CONFLICT = auto()
    NESTED_TOO_DEEP = auto()
    INPUT_MISMATCH = auto()
    OUTPUT_MISMATCH = auto()
    PAYLOAD_ERASED = auto()
    HANDSHAKE_REFUSED = auto()


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that breaks its contract: its path, like `webhook.event_types[2]`, and how."""

    field: str
    description: str


_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class BrikkError(Exception):
    """An error that callers may see. Each variable of its message is also in its metadata."""

    code: ClassVar[str] = "UNKNOWN"
    """Canonical gRPC code."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] = _NO_METADATA,
        violations: Sequence[FieldViolation] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.violations = tuple(violations)
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason}, {self.message!r})"


class Cancelled(BrikkError):
    """The caller gave up, or what was asked for was cancelled."""

    code = "CANCELLED"


class Unknown(BrikkError):
    """Another server failed without saying how. A failure of our own is Internal."""

    code = "UNKNOWN"


class InvalidArgument(BrikkError):
    """The request is wrong, whatever the state of the system."""

    code = "INVALID_ARGUMENT"


class DeadlineExceeded(BrikkError):
    """The time ran out."""

    code = "DEADLINE_EXCEEDED"


class NotFound(BrikkError):
    """There is no such resource in the caller's organisation."""

    code = "NOT_FOUND"


class AlreadyExists(BrikkError):
    """The resource exists already."""

    code = "ALREADY_EXISTS"


class PermissionDenied(BrikkError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class ResourceExhausted(BrikkError):
    """A quota or a rate limit is used up."""

    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(BrikkError):
    """The system is not in a state for this; repeating the call alone does not help."""

    code = "FAILED_PRECONDITION"


class Aborted(BrikkError):
    """Somebody else was faster; read again and repeat."""

    code = "ABORTED"


class OutOfRange(BrikkError):
    """Another server was asked for something past its end."""

    code = "OUT_OF_RANGE"


class Unimplemented(BrikkError):
    """The server does not offer this."""

    code = "UNIMPLEMENTED"


class Internal(BrikkError):
    """A defect."""

    code = "INTERNAL"


class Unavailable(BrikkError):
    """Something that is needed does not answer now; repeating the call later helps."""

    code = "UNAVAILABLE"


class DataLoss(BrikkError):
    """Data is lost or corrupted for good."""

    code = "DATA_LOSS"


class Unauthenticated(BrikkError):
    """The caller's credential is absent or not valid."""

    code = "UNAUTHENTICATED"


def invalid_field(field: str, description: str) -> InvalidArgument:
    """One field that breaks its contract; `description` continues the sentence `<field> ...`."""
    return InvalidArgument(
        Reason.INVALID_FIELD,
        f"{field} {description}",
        metadata={"field": field},
        violations=[FieldViolation(field, description)],
    )


def not_found(resource: str) -> NotFound:
    """No resource of the caller's organisation has this full name, for instance `agents/a`."""
    return NotFound(
        Reason.RESOURCE_NOT_FOUND, f"{resource} does not exist", metadata={"resource": resource}
    )


def request_id_reused(request_id: str) -> InvalidArgument:
    """Another request had this id."""
    return InvalidArgument(
        Reason.REQUEST_ID_REUSED,
        f"the request id {request_id} was used with another request",
        metadata={"request_id": request_id},
    )


class StartError(Exception):
    """The process cannot start as it is set up; the message says to its operator what to change."""
