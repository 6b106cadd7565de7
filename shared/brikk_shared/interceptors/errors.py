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
    Internal,
    Reason,
    Unimplemented,
)
from brikk_shared.interceptors.context import Context
from brikk_shared.metadata import REQUEST_ID_KEY
from brikk_shared.status import STATUS_KEY, from_status, to_status

_CODES = {code.name: code for code in grpc.StatusCode}


def as_error(
    cause: Exception | asyncio.CancelledError, context: Context, request_id: str
) -> BrikkError:
    """What a caller may know of anything that ended a call."""
    if isinstance(cause, BrikkError):
        return cause
    if isinstance(cause, asyncio.CancelledError):
        left = cast("float | None", context.time_remaining())
        if left is not None and left <= 0:
            return DeadlineExceeded(Reason.DEADLINE_EXCEEDED, "the deadline passed")
        return Cancelled(Reason.CANCELLED, "the call was cancelled")
    if isinstance(cause, NotImplementedError):
        return Unimplemented(Reason.UNIMPLEMENTED, "this server does not implement the method")
    if isinstance(cause, grpc.aio.AbortError):
        return from_status(status_pb2.Status(code=context.code(), message=context.details()))
    return Internal(Reason.INTERNAL, "internal error", metadata={"request_id": request_id})


async def abort(context: Context, error: BrikkError, request_id: str) -> NoReturn:
    """End the call with the error's status."""
    status = to_status(error)
    await context.abort(
        _CODES[error.code],
        status.message,
        ((STATUS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, request_id)),
    )
