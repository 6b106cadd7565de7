"""How a failed call answers: with the rich status of its error; a defect tells nothing."""

from __future__ import annotations

import asyncio
from typing import NoReturn, cast

import grpc
from google.rpc import status_pb2

from brikk_shared.errors import (
    BrikkError,
    Cancelled,
    DeadlineExceeded,
    FieldViolation,
    Internal,
    Reason,
    Unimplemented,
)
from brikk_shared.interceptors.context import Context
from brikk_shared.metadata import REQUEST_ID_KEY
from brikk_shared.status import STATUS_KEY, from_status, to_status

_CODES = {code.name: code for code in grpc.StatusCode}

_ALMOST_S = 0.1
"""A cancellation this close to the deadline is the caller's clock being ahead of ours."""

# A status travels in trailers, of which a peer with gRPC's defaults takes 8 KiB. There the message
# is written twice, once percent-encoded and once, like all the rest, in base64.
_MAX_MESSAGE = 500
_MAX_METADATA = 8
_MAX_VALUE = 200
_MAX_VIOLATIONS = 1_800


def as_error(
    cause: Exception | asyncio.CancelledError, context: Context, request_id: str
) -> BrikkError:
    """What a caller may know of anything that ended a call."""
    if isinstance(cause, BrikkError):
        return cause
    if isinstance(cause, asyncio.CancelledError):
        left = cast("float | None", context.time_remaining())
        if left is not None and left <= _ALMOST_S:
            return DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline passed")
        return Cancelled(Reason.CANCELLED, "the call was cancelled")
    if isinstance(cause, NotImplementedError):
        return Unimplemented(Reason.UNIMPLEMENTED, "this server does not implement the method")
    if isinstance(cause, grpc.aio.AbortError):
        code = cast("grpc.StatusCode | int", context.code())  # grpcio has had it both ways
        number = code.value[0] if isinstance(code, grpc.StatusCode) else code
        return from_status(status_pb2.Status(code=number, message=context.details()))
    return Internal(Reason.INTERNAL, "internal error", metadata={"request_id": request_id})


async def abort(context: Context, error: BrikkError, request_id: str) -> NoReturn:
    """End the call with the error's status."""
    status = to_status(fitted(error))
    await context.abort(
        _CODES[error.code],
        status.message,
        ((STATUS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, request_id)),
    )


def fitted(error: BrikkError) -> BrikkError:
    """The error, cut where it would not fit into the trailers of an answer."""
    violations = []
    room = _MAX_VIOLATIONS
    for each in error.violations:
        cut = FieldViolation(_cut(each.field, _MAX_VALUE), _cut(each.description, _MAX_VALUE))
        room -= len(cut.field.encode()) + len(cut.description.encode())
        if room < 0:
            break
        violations.append(cut)
    metadata = list(error.metadata.items())[:_MAX_METADATA]
    return type(error)(
        error.reason,
        _cut(error.message, _MAX_MESSAGE),
        metadata={key: _cut(value, _MAX_VALUE) for key, value in metadata},
        violations=violations,
        retry_after=error.retry_after,
    )


def _cut(text: str, most: int) -> str:
    """At most so many bytes of it; what is not Unicode is replaced."""
    content = text.encode(errors="replace")
    if len(content) > most:
        content = content[: most - 3] + b"..."
    return content.decode(errors="ignore")
