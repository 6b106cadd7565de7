"""Domain errors to `google.rpc.Status` and back: the only mapping there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from brikk_shared import errors
from brikk_shared.errors import BrikkError, FieldViolation, Reason

DOMAIN = "brikk.dev"
"""`google.rpc.ErrorInfo.domain` of our errors."""

STATUS_KEY = "grpc-status-details-bin"
"""Trailing metadata that carries the encoded `google.rpc.Status`."""

# A status travels in trailers, of which a peer with gRPC's defaults takes 8 KiB, base64 included.
_MAX_MESSAGE = 1_000
_MAX_VIOLATIONS_BYTES = 3_000
_MAX_METADATA_VALUE = 300

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


def to_status(error: BrikkError) -> status_pb2.Status:
    """Encode an error: ErrorInfo always; BadRequest, RetryInfo and ResourceInfo where they apply.

    Long texts are cut and violations past about 3 KB dropped, so that it fits into trailers.
    """
    status = status_pb2.Status(
        code=code_pb2.Code.Value(error.code), message=error.message[:_MAX_MESSAGE]
    )
    metadata = {key: value[:_MAX_METADATA_VALUE] for key, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    if error.violations:
        status.details.add().Pack(_bad_request(error.violations))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.code == "NOT_FOUND" and "resource" in metadata:
        status.details.add().Pack(
            error_details_pb2.ResourceInfo(resource_name=metadata["resource"])
        )
    return status


def make_error(
    code: str, reason: Reason, message: str, *, metadata: Mapping[str, str]
) -> BrikkError:
    """Makes the error of a canonical code; an unknown code is UNKNOWN."""
    return _CLASSES.get(code, errors.Unknown)(reason, message, metadata=metadata)


def from_status(status: status_pb2.Status) -> BrikkError:
    """Decode an error, whoever made it.

    A reason that is not ours becomes the nearest of ours by the code and stays in the metadata.
    """
    try:
        code = code_pb2.Code.Name(status.code)
    except ValueError:
        code = "UNKNOWN"
    reason = _REASON_OF_CODE.get(code, Reason.INTERNAL)
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after: timedelta | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            metadata.update(info.metadata)
            if info.domain == DOMAIN and info.reason in Reason.__members__:
                reason = Reason(info.reason)
            elif info.reason:
                metadata.setdefault("reason", info.reason)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest()
            detail.Unpack(bad_request)
            violations.extend(
                FieldViolation(each.field, each.description)
                for each in bad_request.field_violations
            )
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToTimedelta()
    return _CLASSES.get(code, errors.Unknown)(
        reason, status.message, metadata=metadata, violations=violations, retry_after=retry_after
    )


def from_rpc_error(error: grpc.RpcError) -> BrikkError:
    """The error that a server answered with, or that gRPC made because there was no answer."""
    if not isinstance(error, (grpc.aio.AioRpcError, grpc.Call)):
        return errors.Unknown(Reason.INTERNAL, "the call failed without a status")
    code = error.code().value[0]
    encoded = dict(error.trailing_metadata() or ()).get(STATUS_KEY)
    if isinstance(encoded, bytes):
        try:
            status = status_pb2.Status.FromString(encoded)
        except DecodeError:
            pass  # a broken detail of a foreign server leaves the plain code
        else:
            if status.code == code:
                return from_status(status)
    return from_status(status_pb2.Status(code=code, message=error.details() or ""))


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    room = _MAX_VIOLATIONS_BYTES
    for violation in violations:
        room -= len(violation.field.encode()) + len(violation.description.encode()) + 8
        if room < 0:
            break
        bad_request.field_violations.add(field=violation.field, description=violation.description)
    return bad_request
