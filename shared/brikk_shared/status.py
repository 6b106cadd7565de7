"""Domain errors to `google.rpc.Status` and back: the only mapping there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from brikk_shared import errors
from brikk_shared.errors import BrikkError, FieldViolation, Reason

_M = TypeVar("_M", bound=Message)

DOMAIN = "brikk.dev"
"""`google.rpc.ErrorInfo.domain` of our errors."""

STATUS_KEY = "grpc-status-details-bin"
"""Trailing metadata that carries the encoded `google.rpc.Status`."""

_LONGEST_RETRY_S = 86_400.0
"""Whoever asks for more patience than this gets this."""

_CLASSES: Mapping[str, type[BrikkError]] = {
    each.code: each
    for each in (
        errors.Cancelled,
        errors.Unknown,
        errors.InvalidArgument,
        errors.DeadlineExceeded,
        errors.NotFound,
        errors.AlreadyExists,
        errors.PermissionDenied,
        errors.ResourceExhausted,
        errors.FailedPrecondition,
        errors.Aborted,
        errors.OutOfRange,
        errors.Unimplemented,
        errors.Internal,
        errors.Unavailable,
        errors.DataLoss,
        errors.Unauthenticated,
    )
}

# What a server that gives no reason of ours most likely means.
_REASON_OF_CODE: Mapping[str, Reason] = {
    "CANCELLED": Reason.CANCELLED,
    "INVALID_ARGUMENT": Reason.INVALID_FIELD,
    "DEADLINE_EXCEEDED": Reason.DEADLINE_EXCEEDED,
    "NOT_FOUND": Reason.RESOURCE_NOT_FOUND,
    "ALREADY_EXISTS": Reason.RESOURCE_EXISTS,
    "PERMISSION_DENIED": Reason.SCOPE_MISSING,
    "RESOURCE_EXHAUSTED": Reason.RATE_LIMITED,
    "FAILED_PRECONDITION": Reason.WRONG_STATE,
    "UNIMPLEMENTED": Reason.UNIMPLEMENTED,
    "UNAVAILABLE": Reason.DEPENDENCY_UNAVAILABLE,
    "UNAUTHENTICATED": Reason.TOKEN_INVALID,
}


def make_error(
    code: str,
    reason: Reason,
    message: str,
    *,
    metadata: Mapping[str, str],
    violations: Sequence[FieldViolation] = (),
    retry_after: timedelta | None = None,
) -> BrikkError:
    """The error of a canonical code; UNKNOWN when there is no such code."""
    return _CLASSES.get(code, errors.Unknown)(
        reason, message, metadata=metadata, violations=violations, retry_after=retry_after
    )


def to_status(error: BrikkError) -> status_pb2.Status:
    """Encode an error: always ErrorInfo; BadRequest, RetryInfo, ResourceInfo where they apply."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    if error.violations:
        bad_request = error_details_pb2.BadRequest()
        for each in error.violations:
            bad_request.field_violations.add(field=each.field, description=each.description)
        status.details.add().Pack(bad_request)
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        status.details.add().Pack(retry)
    if error.code == "NOT_FOUND" and "resource" in error.metadata:
        resource = error_details_pb2.ResourceInfo(resource_name=error.metadata["resource"])
        status.details.add().Pack(resource)
    return status


def from_status(status: status_pb2.Status) -> BrikkError:
    """Decode an error, whoever made it.

    A reason that is not ours becomes the nearest of ours by the code and stays in the metadata.
    Details that are broken are passed over, and NUL, which no store keeps, is replaced.
    """
    known = status.code in code_pb2.Code.values()
    code = code_pb2.Code.Name(status.code) if known else "UNKNOWN"
    reason = _REASON_OF_CODE.get(code, Reason.INTERNAL)
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after: timedelta | None = None
    for detail in status.details:
        if (info := _unpack(detail, error_details_pb2.ErrorInfo)) is not None:
            metadata |= {_text(key): _text(value) for key, value in info.metadata.items()}
            if info.domain == DOMAIN and info.reason in Reason.__members__:
                reason = Reason(info.reason)
            elif info.reason:
                metadata.setdefault("reason", _text(info.reason))
        elif (bad_request := _unpack(detail, error_details_pb2.BadRequest)) is not None:
            violations += [
                FieldViolation(_text(each.field), _text(each.description))
                for each in bad_request.field_violations
            ]
        elif (retry := _unpack(detail, error_details_pb2.RetryInfo)) is not None:
            seconds = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            retry_after = timedelta(seconds=min(max(seconds, 0.0), _LONGEST_RETRY_S))
    return make_error(
        code,
        reason,
        _text(status.message),
        metadata=metadata,
        violations=violations,
        retry_after=retry_after,
    )


def from_rpc_error(error: grpc.RpcError) -> BrikkError:
    """The error that a server answered with, or that gRPC made because there was no answer."""
    return from_status(status_of(error))


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """The status of a failed call, with the details that the server gave."""
    if not isinstance(error, (grpc.aio.AioRpcError, grpc.Call)):
        return status_pb2.Status(code=code_pb2.UNKNOWN, message="the call failed without a status")
    code = error.code().value[0]
    encoded = dict(error.trailing_metadata() or ()).get(STATUS_KEY)
    if isinstance(encoded, bytes):
        try:
            status = status_pb2.Status.FromString(encoded)
        except DecodeError:
            pass  # a broken detail of a foreign server leaves the plain code
        else:
            if status.code == code:
                return status
    return status_pb2.Status(code=code, message=error.details() or "")


def _unpack(detail: Any, kind: type[_M]) -> _M | None:
    """The message in a `google.protobuf.Any`, or None when it is another, or broken."""
    message = kind()
    try:
        return message if detail.Unpack(message) else None
    except DecodeError:
        return None


def _text(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
